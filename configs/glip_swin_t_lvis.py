"""GLIP-T (arXiv:2112.03857) on LVIS v1: 1,203 names at test, 40 to a prompt; 300 boxes a picture.

In training a prompt has the names that a picture shows, and some that its annotators know to be absent.
Data in data/lvis_v1 (annotations, train2017, val2017), as mmdet lays it out. Give the weights as load_from.
"""

_base_ = [
    '_base_/glip_swin_t_tuned.py',
    '_base_/glip_finetuning.py',
    '_base_/glip_pictures.py',
    '_base_/glip_prompts.py',
]
words = dict(file='data/lvis_v1/annotations/lvis_v1_val.json')
train_words = dict(file='data/lvis_v1/annotations/lvis_v1_train.json')
data = dict(
    type='vlm_dense.VocabularyCocoDataset',
    data_root='data/lvis_v1/',
    data_prefix=dict(img=''),
    remedy='download LVIS v1 (lvisdataset.org) and the COCO 2017 pictures into data/lvis_v1.',
)

model = dict(test_cfg=dict(words_per_prompt=40, max_per_img=300))
train_dataloader = dict(
    **_base_.load_loader,
    dataset=dict(
        ann_file='annotations/lvis_v1_train.json',
        vocabulary=train_words,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[*_base_.load_pipeline, dict(_base_.ask_some, vocabulary=train_words)],
        **data,
    ),
)
val_dataloader = dict(
    **_base_.show_loader,
    dataset=dict(
        ann_file='annotations/lvis_v1_val.json',
        vocabulary=words,
        test_mode=True,
        pipeline=[*_base_.show_pipeline, dict(type='vlm_dense.AttachVocabulary', vocabulary=words)],
        **data,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='vlm_dense.BaseNovelBoxMetric',
    ann_file='data/lvis_v1/annotations/lvis_v1_val.json',
    figures=('coco', 'frequency'),
    lvis_style=True,
)
test_evaluator = val_evaluator
del data, train_words, words
