"""LSeg (arXiv:2201.03546) on the built-in pictures, small enough for two CPU cores.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP). Pixel embeddings start as
the frozen classifier's own map; the decoder learns to correct it and to tell objects from background.
"""

_base_ = ['_base_/pictures_segmentation.py', '_base_/segmentation_runtime.py']
custom_imports = dict(imports=['projects.lseg'])
tower = dict(type='vlm_dense.ImageNetTower', center='data/pictures/center.safetensors')

model = dict(
    type='vlm_dense.OVEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5] * 3,
        std=[127.5] * 3,
        bgr_to_rgb=True,
        size_divisor=32,
        test_cfg=dict(size_divisor=32),
    ),
    text_bank=dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.BridgedTextEncoder'), prompt='a_photo'),
    backbone=dict(type='vlm_dense.TowerBackbone', tower=tower, out_indices=(1, 2, 3)),
    decode_head=dict(
        type='vlm_dense.PyramidPixelHead',
        in_channels=(40, 112, 320),
        channels=64,
        dropout_ratio=0.2,
        norm_cfg=dict(type='SyncBN'),
        embed_dim=1280,
        rank=4,
        shrink=4,
        anchor=dict(type='vlm_dense.TowerTail', tower=tower, centered=True),
        gate=True,
        classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=1280, temperature=0.07, background=None),
        refine=dict(type='vlm_dense.SpatialBlock', kind='bottleneck', depth=2, start='identity'),
        loss_size='logits',
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='RandomResize', scale={{_base_.image_size}}, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size={{_base_.image_size}}),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary={{_base_.base_words}}),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

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
log_processor = dict(by_epoch=False)
