"""CLIPSeg (arXiv:2112.10003) as published, rd64 without visual prompts: PhraseCut, CLIP ViT-B/16, 64 channels.

Taps are numbered as in training. The authors' files are used with taps 3, 6 and 9: see projects/clipseg/README.md.
"""

_base_ = ['_base_/segmentation_runtime.py']
size = (352, 352)
clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')

model = dict(
    type='vlm_dense.WordQuerySegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],  # ImageNet's, as the authors; not CLIP's
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=size,
        test_cfg=dict(size_divisor=16),
    ),
    text_bank=dict(
        type='vlm_dense.DrawnPromptBank',
        bank=dict(
            type='vlm_dense.TextBank',
            encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip),
            prompt='single',
            averaging='mean',  # of one template: the raw encoding
        ),
        prompts='clipseg_9',
    ),
    backbone=dict(
        type='vlm_dense.TowerBackbone',
        tower=dict(type='vlm_dense.OpenClipTower', interpolation='bicubic_plain', taps=(3, 7, 9), **clip),
        out_indices=(0, 1, 2),
        class_token=True,
    ),
    decode_head=dict(type='vlm_dense.FilmPixelHead', in_channels=768, embed_dim=512, channels=64, threshold=0.3),
    negatives=0.2,
)

read = dict(type='LoadImageFromFile', imdecode_backend='pillow')
mask = dict(type='vlm_dense.LoadPhraseMask')
pack = dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'vocabulary'))
train_pipeline = [
    read,
    mask,
    dict(type='Resize', scale=(2048, 352), keep_ratio=True),
    dict(type='RandomCrop', crop_size=size, cat_max_ratio=0.95),  # the phrase fills at least a twentieth
    pack,
]
test_pipeline = [read, dict(type='Resize', scale=size, keep_ratio=False), mask, pack]
phrasecut = dict(
    type='vlm_dense.PhraseCutDataset', data_root='data/VGPhraseCut_v0', data_prefix=dict(img_path='images')
)
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(ann_file='refer_train.json', pipeline=train_pipeline, **phrasecut),
)
val_dataloader = dict(
    batch_size=1,  # every sample has a word of its own
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='refer_val.json', test_mode=True, pipeline=test_pipeline, **phrasecut),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='refer_test.json', test_mode=True, pipeline=test_pipeline, **phrasecut),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])  # the row 'phrase' is the IoU of the foreground
test_evaluator = val_evaluator

steps = 20000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = dict(type='CosineAnnealingLR', eta_min=1e-4, by_epoch=False, begin=0, end=steps)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5000))
log_processor = dict(by_epoch=False)
