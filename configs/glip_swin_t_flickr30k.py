"""GLIP-T (arXiv:2112.03857) on Flickr30k Entities: every sentence is asked for its own phrases.

Data in data/flickr30k_entities (docs/datasets.md). Give the weights as load_from.
"""

_base_ = ['_base_/glip_swin_t_tuned.py', '_base_/glip_finetuning.py', '_base_/glip_pictures.py']
data = dict(
    type='vlm_dense.PhraseGroundingDataset',
    data_root='data/flickr30k_entities/',
    data_prefix=dict(img='flickr30k_images/'),
    remedy='run tools/data/prepare.py (docs/datasets.md).',
)
ask_phrases = dict(type='vlm_dense.AttachVocabulary')

train_dataloader = dict(
    **_base_.load_loader,
    dataset=dict(ann_file='final_flickr_separateGT_train.json', pipeline=[*_base_.load_pipeline, ask_phrases], **data),
)
val_dataloader = dict(
    **_base_.show_loader,
    dataset=dict(
        ann_file='final_flickr_separateGT_val.json',
        test_mode=True,
        pipeline=[*_base_.show_pipeline, ask_phrases],
        **data,
    ),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], ann_file='final_flickr_separateGT_test.json')
)
val_evaluator = dict(type='vlm_dense.PhraseGroundingMetric')
test_evaluator = val_evaluator
del ask_phrases, data
