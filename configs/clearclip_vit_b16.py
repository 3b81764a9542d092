"""ClearCLIP (arXiv:2407.12442): q-q attention, no residual, no feed-forward part in the last block of ViT-B/16."""

_base_ = ['sclip_vit_b16.py']

model = dict(
    backbone=dict(tower=dict(readout='qq')),
    decode_head=dict(logit_scale=50.0),
    test_cfg=dict(crop_size=(448, 448), stride=(224, 224)),
)
# SCLIP's treatment of pictures, at another size.
pipeline = [{**step, 'scale': (2048, 448)} if step['type'] == 'Resize' else step for step in _base_.pipeline]
test_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = test_dataloader
