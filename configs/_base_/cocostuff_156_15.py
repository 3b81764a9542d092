"""COCO-Stuff 164k in mmseg's usual place: training asks for 156 words and ignores the other 15, the test asks for 171.

A recipe adds the steps of the pictures, then `attach_seen` or `attach_all`.
"""

word_file = '{{fileDirname}}/../../vlm_dense/datasets/vocabularies/cocostuff_156_15.json'
seen_words = dict(file=word_file, only='base')
all_words = dict(file=word_file)
attach_seen = dict(type='vlm_dense.AttachVocabulary', vocabulary=seen_words)
attach_all = dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words)
cocostuff = dict(
    type='vlm_dense.VocabularySegDataset',
    background=False,
    img_suffix='.jpg',
    seg_map_suffix='_labelTrainIds.png',
    data_root='data/coco_stuff164k',
    remedy="unpack COCO's pictures and stuffthingmaps_trainval2017.zip and run mmseg's converter coco_stuff164k.py.",
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        vocabulary=seen_words,
        data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
        **cocostuff,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        vocabulary=all_words,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
        test_mode=True,
        **cocostuff,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
test_evaluator = val_evaluator
