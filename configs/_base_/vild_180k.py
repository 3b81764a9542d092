"""ViLD's schedule: 256 pictures a step, 180,000 steps.

The rate belongs to 256 pictures: 32 GPUs of 8, or --auto-scale-lr.
"""

_base_ = ['detection_runtime.py']

train_cfg = dict(type='IterBasedTrainLoop', max_iters=180_000, val_interval=30_000)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.32, momentum=0.9, weight_decay=4e-5),
    # The decay acts on kernels alone.
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[162_000, 171_000, 175_500], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=256)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10_000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
