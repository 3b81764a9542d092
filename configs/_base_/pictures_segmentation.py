# Label maps of the built-in pictures: `python tools/data/compose_pictures.py --out data/pictures`.
# The maps count all K words, K is background, 255 is ignored. Training asks for the J base words only: base words are
# the first J on the list and keep their numbers, background K becomes J (the last column), 255 stays.
data_root = 'data/pictures/'
remedy = 'make the pictures with `python tools/data/compose_pictures.py --out data/pictures`.'
dataset_type = 'vlm_dense.VocabularySegDataset'
base_words = dict(file=data_root + 'vocabulary.json', only='base')
all_words = dict(file=data_root + 'vocabulary.json')
image_size = (384, 384)

# Pillow refuses damaged files; cv2 would fill them with grey.
train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=base_words),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
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
        data_prefix=dict(img_path='train/images', seg_map_path='train/labels'),
        vocabulary=base_words,
        remedy=remedy,
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
        data_prefix=dict(img_path='val/images', seg_map_path='val/labels'),
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
        data_prefix=dict(img_path='test/images', seg_map_path='test/labels'),
        vocabulary=all_words,
        remedy=remedy,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)

val_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
test_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
