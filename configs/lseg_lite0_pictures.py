"""LSeg (arXiv:2201.03546) on the built-in pictures, small enough for two CPU cores.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP). Pixel embeddings start as
the frozen classifier's own map; the decoder learns to correct it and to tell objects from background.
"""

_base_ = ['_base_/pictures_segmentor.py']
custom_imports = dict(imports=['projects.lseg'])

model = dict(
    type='vlm_dense.OVEncoderDecoder',
    backbone=dict(type='vlm_dense.TowerBackbone', tower=_base_.tower, out_indices=(1, 2, 3)),
    decode_head=dict(
        type='vlm_dense.PyramidPixelHead',
        in_channels=(40, 112, 320),
        channels=64,
        dropout_ratio=0.2,
        norm_cfg=dict(type='SyncBN'),
        embed_dim=1280,
        rank=4,
        shrink=4,
        anchor=dict(type='vlm_dense.TowerTail', tower=_base_.tower, centered=True),
        gate=True,
        classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=1280, temperature=0.07, background=None),
        refine=dict(type='vlm_dense.SpatialBlock', kind='bottleneck', depth=2, start='identity'),
        loss_size='logits',
    ),
)

steps = 200
train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'decode_head.project': dict(lr_mult=0.005), 'decode_head.refine': dict(lr_mult=5)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=20, end=steps),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=steps))
