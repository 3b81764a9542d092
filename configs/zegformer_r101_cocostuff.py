"""ZegFormer (arXiv:2112.07910) as published: MaskFormer with ResNet-101, CLIP ViT-B/16, COCO-Stuff 156/15.

For other data sets the paper's scores are model.fusion.base_power=2/3 and no penalty: projects/zegformer/README.md.
"""

_base_ = [
    '_base_/zegformer_r101.py',
    '_base_/mask_former_60k.py',
    '_base_/mask_former_steps_640.py',
    '_base_/cocostuff_156_15.py',
]

model = dict(test_cfg=dict(seen_penalty=0.1))
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_steps, _base_.attach_seen]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.test_steps, _base_.attach_all]))
test_dataloader = val_dataloader
