# Boxes and masks of the built-in pictures: `python tools/data/compose_pictures.py --out data/pictures`.
# Training sees base words only; val and test ask for all words at once.
data_root = 'data/pictures/'
remedy = 'make the pictures with `python tools/data/compose_pictures.py --out data/pictures`.'
dataset_type = 'vlm_dense.VocabularyCocoDataset'
base_words = dict(file=data_root + 'vocabulary.json', only='base')
all_words = dict(file=data_root + 'vocabulary.json')
image_size = (384, 384)

# Pillow refuses damaged files; cv2 would fill them with grey.
train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=base_words),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train.json',
        data_prefix=dict(img=''),
        vocabulary=base_words,
        remedy=remedy,
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=2,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='val.json',
        data_prefix=dict(img=''),
        vocabulary=all_words,
        remedy=remedy,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=2,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='test.json',
        data_prefix=dict(img=''),
        vocabulary=all_words,
        remedy=remedy,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)

val_evaluator = dict(type='vlm_dense.BaseNovelBoxMetric', ann_file=data_root + 'val.json')
test_evaluator = dict(type='vlm_dense.BaseNovelBoxMetric', ann_file=data_root + 'test.json')
