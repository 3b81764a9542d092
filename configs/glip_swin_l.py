"""GLIP-L (arXiv:2112.03857): Swin-L and eight blocks, on four detection data sets, GoldG and 24 million captions."""

_base_ = ['_base_/glip_swin_l.py', '_base_/glip_steps.py', '_base_/glip_large_data.py']
# The authors' settings for the large model: a million steps, no average of the weights, and stronger decay, which drops
# two thirds of the way to each drop of the rate.
train_cfg = dict(max_iters=1_000_000)
optim_wrapper = dict(optimizer=dict(weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[670_000, 890_000], gamma=0.1),
    dict(
        type='MultiStepParamScheduler',
        param_name='weight_decay',
        by_epoch=False,
        milestones=[446_890, 593_630],
        gamma=0.1,
    ),
]
custom_hooks = []
