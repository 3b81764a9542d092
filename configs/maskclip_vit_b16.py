"""MaskCLIP (arXiv:2112.01071) with ViT-B/16: values in place of the last attention; nothing is trained.

Tests on COCO-Stuff, 171 words, of which none counts as seen; `tools/test.py --protocol` takes other data.
"""

_base_ = ['_base_/dense_vit_b16.py', '_base_/cocostuff.py', '_base_/zero_shot_segmentation.py']

model = dict(
    # The authors normalise with ImageNet's mean and deviation, not with CLIP's.
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(tower=dict(readout='value')),
    decode_head=dict(logit_scale=100.0),
    text_bank=dict(prompt='maskclip_85'),
    test_cfg=dict(mode='whole'),
)
words = dict(dataset='coco_stuff')
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=words),
]
stuff = dict(_base_.cocostuff, data_prefix=_base_.cocostuff_validation, vocabulary=words, test_mode=True)
test_dataloader = dict(dataset=dict(pipeline=pipeline, **stuff))
val_dataloader = test_dataloader
