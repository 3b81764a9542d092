"""MaskFormer's schedule on COCO-Stuff: AdamW, 60,000 steps of 32 pictures, which 8 GPUs make of 4 each."""

_base_ = ['segmentation_runtime.py']
steps = 60_000

train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=5_000)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys={'backbone': dict(lr_mult=0.1), 'query_embed': dict(decay_mult=0.0)}
    ),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=steps)]
auto_scale_lr = dict(enable=False, base_batch_size=32)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5_000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
