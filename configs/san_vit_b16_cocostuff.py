"""SAN (arXiv:2302.12242) as published: CLIP ViT-B/16, trained on COCO-Stuff's 171 words, 32 pictures a step.

`tools/test.py --protocol` asks it for the words of other data.
"""

_base_ = ['_base_/san_vit_b16.py', '_base_/segmentation_runtime.py', '_base_/cocostuff_171.py']
crop_size = {{_base_.crop_size}}

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
    _base_.attach,
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeShortestEdge', scale=crop_size, max_size=2560),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
    _base_.attach,
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))  # on each of four GPUs
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

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
