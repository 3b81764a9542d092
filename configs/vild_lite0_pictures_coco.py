"""Zero-shot COCO: the ViLD of the built-in pictures asked for COCO's 80 words, none of whose boxes it was trained on.

Evaluation only: `python tools/test.py configs/vild_lite0_pictures_coco.py CHECKPOINT` with a checkpoint of
vild_lite0_pictures. Data in data/coco, as mmdet lays it out. The small recipe was made for composed scenes; no figure
of it is known here.
"""

_base_ = ['vild_lite0_pictures.py']
ann_file = 'data/coco/annotations/instances_val2017.json'
all_words = dict(file=ann_file)

test_dataloader = dict(
    dataset=dict(
        data_root='data/coco/',
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        vocabulary=all_words,
        remedy='download the COCO 2017 pictures and annotations (cocodataset.org) into data/coco.',
        pipeline=[*_base_.test_pipeline[:-1], dict(type='vlm_dense.AttachVocabulary', vocabulary=all_words)],
    )
)
test_evaluator = dict(type='vlm_dense.BaseNovelBoxMetric', ann_file=ann_file)
