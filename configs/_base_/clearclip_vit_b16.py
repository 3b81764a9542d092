"""ClearCLIP (arXiv:2407.12442): q-q attention, no residual, no feed-forward part in the last block of ViT-B/16."""

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
        tower=dict(type='vlm_dense.OpenClipTower', readout='qq', **clip),
    ),
    decode_head=dict(type='vlm_dense.DenseMapHead', logit_scale=50.0, synonyms='max'),
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='openai_80'
    ),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
