"""RegionCLIP's fine-tuning schedule: 16 pictures a step (4 GPUs of 4, or --auto-scale-lr), 90,000 steps."""

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
