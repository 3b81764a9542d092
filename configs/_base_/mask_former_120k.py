"""The schedule twice as long."""

_base_ = ['mask_former_60k.py']

train_cfg = dict(max_iters=120_000)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=120_000)]
