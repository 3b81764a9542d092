"""SCLIP (arXiv:2312.01597): q-q and k-k attention in the last block of ViT-B/16; nothing is trained.

Tests on COCO-Stuff, 171 words, of which none counts as seen; `tools/test.py --protocol` takes other data.
"""

_base_ = ['_base_/dense_vit_b16.py', '_base_/cocostuff.py', '_base_/zero_shot_segmentation.py']

model = dict(
    backbone=dict(tower=dict(readout='qq+kk')),
    decode_head=dict(logit_scale=40.0, synonyms='max'),
    test_cfg=dict(mode='slide', crop_size=(224, 224), stride=(112, 112)),
)
words = dict(dataset='coco_stuff')
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 336), keep_ratio=True),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=words),
]
stuff = dict(_base_.cocostuff, data_prefix=_base_.cocostuff_validation, vocabulary=words, test_mode=True)
test_dataloader = dict(dataset=dict(pipeline=pipeline, **stuff))
val_dataloader = test_dataloader
