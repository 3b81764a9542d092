"""MaskCLIP with ViT-B/16 on PASCAL Context, 59 words; nothing is trained, and no word counts as seen."""

_base_ = ['_base_/maskclip_vit_b16.py', '_base_/context59.py', '_base_/zero_shot_segmentation.py']

# A little more than on the other data.
pipeline = [{**step, 'scale': (2048, 520)} if step['type'] == 'Resize' else step for step in _base_.pipeline]
test_dataloader = dict(dataset=dict(pipeline=[*pipeline, _base_.attach], **_base_.test_set))
val_dataloader = test_dataloader
