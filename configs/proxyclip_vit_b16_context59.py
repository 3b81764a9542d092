"""ProxyCLIP on PASCAL Context, 59 words; nothing is trained, and no word counts as seen."""

_base_ = ['_base_/proxyclip_vit_b16.py', '_base_/context59.py', '_base_/zero_shot_segmentation.py']

test_dataloader = dict(dataset=dict(pipeline=[*_base_.pipeline, _base_.attach], **_base_.test_set))
val_dataloader = test_dataloader
