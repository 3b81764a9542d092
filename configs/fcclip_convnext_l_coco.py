"""FC-CLIP (arXiv:2308.02487) as published: Mask2Former on the frozen ConvNeXt-L of LAION's CLIP, COCO panoptic.

Semantic, instance and panoptic segmentation with the same weights; see projects/fcclip/README.md.
"""

_base_ = ['_base_/coco_panoptic.py', '_base_/mask2former_head.py', '_base_/mask2former_368k.py']
custom_imports = dict(imports=['vlm_dense.registry'])
clip = dict(name='convnext_large_d_320', pretrained='laion2b_s29b_b131k_ft_soup')
padding = dict(pad_mask=True, mask_pad_value=0, pad_seg=True, seg_pad_value=255)

model = dict(
    type='vlm_dense.OVMaskDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024), **padding)],
        **padding,
    ),
    backbone=dict(
        type='vlm_dense.TowerBackbone',
        tower=dict(type='vlm_dense.OpenClipTower', **clip),
        out_indices=(0, 1, 2, 3),
        tune='none',
    ),
    mask_head=dict(
        in_channels=[192, 384, 768, 1536],
        num_queries=250,
        query_embedding=dict(num_layers=3, pooled=True),
        classifier=dict(
            type='vlm_dense.EmbeddingClassifier',
            embed_dim=768,
            background=None,
            void='learned',
            temperature=0.07,
            learn_scale=True,
        ),
        void_weight=0.1,
    ),
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='vild_14'
    ),
    synonyms='max',
    regions=dict(type='vlm_dense.PoolReader', kind='hard', empty='zeros'),
    fusion=dict(type='vlm_dense.ScoreFusion', base_power=0.4, novel_power=0.8, void='factor', empty='keep'),
    test_cfg=dict(
        panoptic_on=True,
        instance_on=True,
        semantic_on=True,
        object_mask_thr=0.0,
        iou_thr=0.8,
        filter_low_score=True,
        max_per_image=100,
    ),
)
del clip, padding
