# COCO 2017 in data/coco, asked for its 80 names: the zero-shot test of pre-training, and the data of fine-tuning.
_base_ = ['glip_pictures.py']
coco_words = dict(dataset='coco')
coco = dict(
    type='vlm_dense.VocabularyCocoDataset',
    data_root='data/coco/',
    vocabulary=coco_words,
    remedy='download the COCO 2017 pictures and annotations (cocodataset.org) into data/coco.',
)
ask_coco = dict(type='vlm_dense.AttachVocabulary', vocabulary=coco_words)
val_dataloader = dict(
    **_base_.show_loader,
    dataset=dict(
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=[*_base_.show_pipeline, ask_coco],
        **coco,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='vlm_dense.BaseNovelBoxMetric',
    ann_file='data/coco/annotations/instances_val2017.json',
    figures=('coco',),
)
test_evaluator = val_evaluator
