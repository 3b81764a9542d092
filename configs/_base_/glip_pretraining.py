"""GLIP's schedule of pre-training: 64 pictures a step, 30 epochs, drops after 67 and 89 percent of them.

As in the authors' settings biases do not decay and learn twice as fast, but for the text tower's, which learn as the
rest of it does. `--amp` trains in mixed precision, as they do.
"""

_base_ = ['detection_runtime.py']
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30, val_interval=5)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(
        custom_keys={'language_model': dict(lr_mult=0.1), 'bias': dict(lr_mult=2.0, decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[20, 27], gamma=0.1),
]
custom_hooks = [dict(type='EMAHook', momentum=0.001, priority=49)]
auto_scale_lr = dict(enable=False, base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
