"""GLIP-T (arXiv:2112.03857) fine-tuned on boxes of your own, as on the data sets of ODinW.

Put train.json and valid.json (COCO's layout) and the folders train and valid into data/custom; the names of the
categories in train.json are the words. Give the weights as load_from. What is read around a word, or in its place, is
`model.described`: dict(stingray=dict(suffix=' which is flat and round')).
"""

_base_ = ['_base_/glip_swin_t_tuned.py', '_base_/glip_finetuning.py', '_base_/glip_pictures.py']
words = dict(file='data/custom/train.json')
data = dict(type='vlm_dense.VocabularyCocoDataset', data_root='data/custom/', vocabulary=words)
ask = dict(type='vlm_dense.AttachVocabulary', vocabulary=words)

# As the authors tune whole models on ODinW: batches of 4, two of Swin's stages frozen, strong decay, no average of the
# weights; the rate drops when validation stands still, and training ends when it goes on standing still.
model = dict(backbone=dict(frozen_stages=2))
train_cfg = dict(max_epochs=200)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'language_model': dict(lr_mult=0.1)}),
)
param_scheduler = [dict(type='ReduceOnPlateauLR', monitor='ap', rule='greater', patience=2)]
custom_hooks = [dict(type='EarlyStoppingHook', monitor='ap', rule='greater', min_delta=0.0, patience=4)]
train_dataloader = dict(
    _base_.load_loader,
    batch_size=4,
    dataset=dict(ann_file='train.json', data_prefix=dict(img='train/'), pipeline=[*_base_.load_pipeline, ask], **data),
)
val_dataloader = dict(
    **_base_.show_loader,
    dataset=dict(
        ann_file='valid.json',
        data_prefix=dict(img='valid/'),
        test_mode=True,
        pipeline=[*_base_.show_pipeline, ask],
        **data,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.BaseNovelBoxMetric', ann_file='data/custom/valid.json', figures=('coco',))
test_evaluator = val_evaluator
del ask, data, words
