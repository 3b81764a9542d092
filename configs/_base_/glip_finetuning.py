"""GLIP's schedule of fine-tuning on COCO: 32 pictures a step, 24 epochs, one small rate for image and text."""

_base_ = ['glip_pretraining.py']
train_cfg = dict(max_epochs=24, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(lr=1e-5),
    paramwise_cfg=dict(custom_keys={'language_model': dict(lr_mult=1.0)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[16, 21], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=32)
