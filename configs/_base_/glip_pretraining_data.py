# Objects365 v1 in data/objects365v1, whose names become prompts; the test is that of COCO.
_base_ = ['glip_coco.py', 'glip_prompts.py']
words = dict(file='data/objects365v1/annotations/objects365_train.json')
objects365 = dict(
    type='vlm_dense.VocabularyCocoDataset',
    data_root='data/objects365v1/',
    ann_file='annotations/objects365_train.json',
    data_prefix=dict(img='train/'),
    vocabulary=words,
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=[*_base_.load_pipeline, dict(_base_.ask_some, vocabulary=words)],
    remedy='download Objects365 v1 (objects365.org) into data/objects365v1.',
)
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=objects365,
)
