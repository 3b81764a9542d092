# OV-COCO in data/coco: objects of 48 words in training, 65 words at test.
# Training reads COCO's own annotations and leaves out objects of other words; testing reads
# instances_val2017_all_2.json, the split of OVR-CNN (arXiv:2011.10678).
_base_ = ['lvis_detection.py']
root = 'data/coco/'
words = '{{fileDirname}}/../../vlm_dense/datasets/vocabularies/ovcoco.json'
train_words = dict(file=words)
all_words = dict(file=words)
remedy = (
    'download the COCO 2017 pictures and annotations (cocodataset.org) into data/coco; '
    'instances_val2017_all_2.json is made by the notebooks of OVR-CNN.'
)
data = dict(
    _delete_=True,
    type='vlm_dense.VocabularyCocoDataset',
    data_root=root,
    remedy=remedy,
    other_categories='drop',
)
train_dataloader = dict(
    dataset=dict(
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        vocabulary=train_words,
        objects='base',
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[*_base_.load_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=train_words)],
        **data,
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file='annotations/instances_val2017_all_2.json',
        data_prefix=dict(img='val2017/'),
        vocabulary=all_words,
        test_mode=True,
        pipeline=[*_base_.show_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words)],
        **data,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True,
    type='vlm_dense.BaseNovelBoxMetric',
    ann_file=root + 'annotations/instances_val2017_all_2.json',
    iou_types=('bbox',),
)
test_evaluator = val_evaluator
del data, remedy, root, words
