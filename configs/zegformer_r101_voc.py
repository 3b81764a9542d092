"""ZegFormer (arXiv:2112.07910) on PASCAL VOC 15/5: 30,000 steps; the authors found 10,000 unstable."""

_base_ = [
    '_base_/zegformer_r101.py',
    '_base_/mask_former_60k.py',
    '_base_/mask_former_steps_512.py',
    '_base_/voc_15_5.py',
]
steps = 30_000

model = dict(data_preprocessor=dict(size=(512, 512)))
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_steps, _base_.attach_seen]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.test_steps, _base_.attach_all]))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=steps)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=steps)]
