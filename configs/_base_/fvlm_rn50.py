"""F-VLM as published, whatever its data: FPN and Mask R-CNN's heads on the frozen ResNet-50 of CLIP."""

_base_ = ['mask_rcnn_r50_fpn_ov.py', 'fvlm_46k.py']
custom_imports = dict(imports=['vlm_dense.registry'])
clip = dict(name='RN50-quickgelu', pretrained='openai')
words = dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='openai_80')
background = dict(text='background', bank=words)

model = dict(
    data_preprocessor=dict(mean=[122.7709383, 116.7460125, 104.09373615], std=[68.5005327, 66.6321579, 70.32316305]),
    text_bank=words,
    backbone=dict(
        _delete_=True,
        type='vlm_dense.TowerBackbone',
        tower=dict(type='vlm_dense.OpenClipTower', **clip),
        out_indices=(0, 1, 2, 3),
        tune='none',
    ),
    roi_head=dict(
        bbox_head=dict(
            embed_dim=1024,
            trunk=dict(num_convs=4, num_fcs=1),
            # The training softmax has base words and background only.
            classifier=dict(
                _delete_=True,
                type='vlm_dense.EmbeddingClassifier',
                temperature=0.01,
                learn_temperature=True,
                background=background,
            ),
            background_weight=0.9,
        )
    ),
    region_scorer=dict(
        type='vlm_dense.TowerRegionScorer',
        roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=2048,
            featmap_strides=[32],
        ),
        classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=1024, temperature=0.01, background=background),
        base_power=0.35,
        novel_power=0.65,
    ),
)
del background, clip, words
