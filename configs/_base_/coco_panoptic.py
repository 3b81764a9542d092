# COCO 2017 panoptic in data/coco (train2017, val2017, annotations with the unpacked maps), as mmdet lays it out:
# 80 things and 53 kinds of stuff, all seen in training. Large-scale jitter from 0.1 to 2 on 1024 x 1024.
root = 'data/coco/'
words = dict(dataset='coco_panoptic', seen_in=dict(dataset='coco_panoptic'))
attach = dict(type='vlm_dense.AttachVocabulary', vocabulary=words)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='vlm_dense.LoadPanopticAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type='RandomCrop',
        crop_type='absolute',
        crop_size=(1024, 1024),
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='PackDetInputs'),
    attach,
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    attach,
]
remedy = 'download the COCO 2017 pictures and panoptic annotations (cocodataset.org) into data/coco.'
data = dict(type='vlm_dense.VocabularyPanopticDataset', data_root=root, vocabulary=words, remedy=remedy)
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        ann_file='annotations/panoptic_train2017.json',
        data_prefix=dict(img='train2017/', seg='annotations/panoptic_train2017/'),
        pipeline=train_pipeline,
        **data,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
        **data,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='vlm_dense.PanopticQualityMetric',
    ann_file=root + 'annotations/panoptic_val2017.json',
    seg_prefix=root + 'annotations/panoptic_val2017/',
)
test_evaluator = val_evaluator
del attach, data, remedy, root
