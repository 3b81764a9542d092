"""F-VLM's schedule: 256 pictures a step, 46,100 steps.

The rate belongs to 256 pictures: 32 GPUs of 8, or --auto-scale-lr.
"""

_base_ = ['detection_runtime.py']

train_cfg = dict(type='IterBasedTrainLoop', max_iters=46_100, val_interval=46_100)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.36, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'temperature_factor': dict(decay_mult=0.0)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0032 / 0.36, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=False, milestones=[36_880, 41_490, 43_795], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=256)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4_610, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
