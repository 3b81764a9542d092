"""MaskCLIP (arXiv:2112.01071) with ViT-B/16: values in place of the last attention; nothing is trained."""

clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')
model = dict(
    type='vlm_dense.OVEncoderDecoder',
    # The authors normalise with ImageNet's mean and deviation, not with CLIP's.
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='vlm_dense.DenseBackbone',
        tower=dict(type='vlm_dense.OpenClipTower', readout='value', **clip),
    ),
    decode_head=dict(type='vlm_dense.DenseMapHead', logit_scale=100.0),
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='maskclip_85'
    ),
    test_cfg=dict(mode='whole'),
)
