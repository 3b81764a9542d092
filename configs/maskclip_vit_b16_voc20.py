"""MaskCLIP with ViT-B/16 on PASCAL VOC without background; nothing is trained, and no word counts as seen."""

_base_ = ['_base_/maskclip_vit_b16.py', '_base_/voc20.py', '_base_/zero_shot_segmentation.py']

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=_base_.words),
]
test_dataloader = dict(dataset=dict(pipeline=pipeline, **_base_.test_set))
val_dataloader = test_dataloader
