"""SAN (arXiv:2302.12242) as published: CLIP ViT-B/16, trained on COCO-Stuff's 171 words, 32 pictures a step.

`tools/test.py --protocol` asks it for the words of other data.
"""

_base_ = ['_base_/san_vit_b16.py', '_base_/segmentation_runtime.py', '_base_/cocostuff.py']
crop_size = {{_base_.crop_size}}
# The file's words are all 171; as base words they are all seen.
words = dict(dataset='coco_stuff', base='{{fileDirname}}/../vlm_dense/datasets/vocabularies/cocostuff_156_15.json')
attach = dict(type='vlm_dense.AttachVocabulary', vocabulary=words)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(
        type='RandomChoiceResize',
        scales=[int(640 * x * 0.1) for x in range(5, 16)],
        resize_type='ResizeShortestEdge',
        max_size=2560,
    ),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=1.0),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
    attach,
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeShortestEdge', scale=crop_size, max_size=2560),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
    attach,
]
stuff = dict(_base_.test_set, vocabulary=words)
train_set = dict(
    stuff,
    data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
    remedy="unpack train2017.zip and stuffthingmaps_trainval2017.zip and run mmseg's converter coco_stuff164k.py.",
    test_mode=False,
)
train_dataloader = dict(
    batch_size=8,  # on each of four GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(train_set, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(stuff, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
test_evaluator = val_evaluator

steps = 60000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=5000)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={'pos_embed': dict(decay_mult=0.0), 'query_embed': dict(decay_mult=0.0)},
    ),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
param_scheduler = dict(type='PolyLR', power=1.0, eta_min=0, by_epoch=False, begin=0, end=steps)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5000))
log_processor = dict(by_epoch=False)
