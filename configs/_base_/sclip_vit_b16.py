"""SCLIP (arXiv:2312.01597): q-q and k-k attention in the last block of ViT-B/16; nothing is trained."""

clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')
model = dict(
    type='vlm_dense.OVEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[122.771, 116.746, 104.094],
        std=[68.501, 66.632, 70.323],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='vlm_dense.DenseBackbone',
        tower=dict(type='vlm_dense.OpenClipTower', readout='qq+kk', **clip),
    ),
    decode_head=dict(type='vlm_dense.DenseMapHead', logit_scale=40.0, synonyms='max'),
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='openai_80'
    ),
    test_cfg=dict(mode='slide', crop_size=(224, 224), stride=(112, 112)),
)
