"""RegionCLIP's fine-tuning: 640 to 800 pixels, 16 pictures a step (4 GPUs of 4, or --auto-scale-lr), 90,000 steps."""

_base_ = ['detection_runtime.py']

train_cfg = dict(type='IterBasedTrainLoop', max_iters=90_000, val_interval=30_000)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.002, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=5_000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[60_000, 80_000], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10_000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)

sides = [(1333, side) for side in (640, 672, 704, 736, 768, 800)]
load_800 = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomChoiceResize', scales=sides, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
del sides
