"""LSeg (arXiv:2201.03546) as published: ViT-L/16, DPT decoder, CLIP ViT-B/32 words, trained on ADE20K-150.

Weights of the backbone: see projects/lseg/README.md.
"""

_base_ = ['_base_/segmentation_runtime.py', '_base_/ade20k.py', '_base_/lseg_vit_l16.py']
custom_imports = dict(imports=['projects.lseg'])
crop_size = (480, 480)
word_file = '{{fileDirname}}/../vlm_dense/datasets/vocabularies/ade20k.json'
words = dict(file=word_file, base=word_file)  # training shows them all
sides = [520 * share for share in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]  # the longer ones of what is tested

model = dict(
    decode_head=dict(refine=dict(type='vlm_dense.SpatialBlock', kind='bottleneck', depth=2)),
    test_cfg=dict(
        mode='slide',
        crop_size=crop_size,
        stride=(320, 320),
        scales=[side / sides[-1] for side in sides],
        flip=True,
        size_multiple=16,
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=words),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(910, 910), keep_ratio=True),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=words),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        vocabulary=words,
        pipeline=train_pipeline,
        **_base_.ade20k,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data_prefix=_base_.ade20k_validation,
        vocabulary=words,
        pipeline=test_pipeline,
        **_base_.ade20k,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
test_evaluator = val_evaluator

# The authors' rate is 0.004 / 16 times the batch of one process; what is not pre-trained learns ten times faster.
# Their reassembling layers belong to the backbone's group.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.004 / 16 * 4, momentum=0.9, weight_decay=1e-4),
    accumulative_counts=2,
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10), 'decode_head.reassemble': dict(lr_mult=1)}),
)
param_scheduler = dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=240, by_epoch=True)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=240, val_interval=20)
default_hooks = dict(checkpoint=dict(interval=20))
