"""GLIP's schedule for mixtures, which have no epochs: 30 epochs of Objects365 and GoldG in steps of 64 pictures."""

_base_ = ['glip_pretraining.py']
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=660_000, val_interval=50_000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[442_000, 587_000], gamma=0.1),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10_000))
log_processor = dict(by_epoch=False)
