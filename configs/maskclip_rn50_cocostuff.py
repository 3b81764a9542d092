"""MaskCLIP with ResNet-50 on COCO-Stuff, 171 words; nothing is trained, and no word counts as seen."""

_base_ = ['_base_/maskclip_rn50.py', '_base_/cocostuff.py', '_base_/zero_shot_segmentation.py']

test_dataloader = dict(dataset=dict(pipeline=[*_base_.pipeline, _base_.attach], **_base_.test_set))
val_dataloader = test_dataloader
