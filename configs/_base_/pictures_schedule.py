"""The schedule of detectors on the built-in pictures: 450 steps of 4."""

_base_ = ['detection_runtime.py']
steps = 450  # six times through the 300 pictures
train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, begin=0, end=45),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=45, end=steps),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=steps))
log_processor = dict(by_epoch=False)
