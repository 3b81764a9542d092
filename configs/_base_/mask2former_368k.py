"""Mask2Former's schedule on COCO: 50 epochs of 16 pictures a step, 8 GPUs of 2."""

_base_ = ['detection_runtime.py']

train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=368_750, val_interval=5_000, dynamic_intervals=[(365_001, 368_750)]
)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    # Embeddings, among them that of no word, and norms do not decay.
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={name: dict(decay_mult=0.0) for name in ('query_embed', 'query_feat', 'level_embed', 'learned_ED')},
    ),
)
param_scheduler = dict(type='MultiStepLR', by_epoch=False, milestones=[327_778, 355_092], gamma=0.1)
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5_000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
