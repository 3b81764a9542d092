# LVIS v1 in data/lvis_v1 (annotations, train2017, val2017), as mmdet lays it out.
# Training gives labels into all words and leaves out the objects of the novel ones.
_base_ = ['jitter_1024.py']
root = 'data/lvis_v1/'
train_words = dict(file=root + 'annotations/lvis_v1_train.json')
all_words = dict(file=root + 'annotations/lvis_v1_val.json')
remedy = 'download LVIS v1 (lvisdataset.org) and the COCO 2017 pictures into data/lvis_v1.'
data = dict(type='vlm_dense.VocabularyCocoDataset', data_root=root, data_prefix=dict(img=''), remedy=remedy)
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        ann_file='annotations/lvis_v1_train.json',
        vocabulary=train_words,
        objects='base',
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[*_base_.load_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=train_words)],
        **data,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/lvis_v1_val.json',
        vocabulary=all_words,
        test_mode=True,
        pipeline=[*_base_.show_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words)],
        **data,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='vlm_dense.BaseNovelBoxMetric',
    ann_file=root + 'annotations/lvis_v1_val.json',
    iou_types=('bbox', 'segm'),
    lvis_style=True,
)
test_evaluator = val_evaluator
del data, remedy, root
