"""ClearCLIP (arXiv:2407.12442): q-q attention, no residual, no feed-forward part in the last block of ViT-B/16."""

_base_ = ['sclip_vit_b16.py']
model = dict(
    backbone=dict(tower=dict(readout='qq')),
    decode_head=dict(logit_scale=50.0),
    test_cfg=dict(crop_size=(448, 448), stride=(224, 224)),
)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
]
