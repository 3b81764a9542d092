"""Cells of CLIP's ViT-B/16 compared with words; a method says how cells are read, how they score, on what windows."""

clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')
model = dict(
    type='vlm_dense.OVEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[122.771, 116.746, 104.094],
        std=[68.501, 66.632, 70.323],
        bgr_to_rgb=True,
    ),
    backbone=dict(type='vlm_dense.DenseBackbone', tower=dict(type='vlm_dense.OpenClipTower', **clip)),
    decode_head=dict(type='vlm_dense.DenseMapHead'),
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='openai_80'
    ),
)
