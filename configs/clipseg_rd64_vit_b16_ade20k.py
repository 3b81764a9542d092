"""A checkpoint of clipseg_rd64_vit_b16_phrasecut on ADE20K-150, for `tools/test.py`: 150 questions per picture.

The label of a pixel is the word with the highest log-odds. No word of ADE20K counts as seen.
"""

_base_ = ['clipseg_rd64_vit_b16_phrasecut.py', '_base_/ade20k.py']
words = dict(file='{{fileDirname}}/../vlm_dense/datasets/vocabularies/ade20k.json')

model = dict(decode_head=dict(threshold=None))
pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale={{_base_.size}}, keep_ratio=False),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=words),
]
val_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        vocabulary=words,
        data_prefix=_base_.ade20k_validation,
        test_mode=True,
        pipeline=pipeline,
        **_base_.ade20k,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='vlm_dense.SeenUnseenIoUMetric')
test_evaluator = val_evaluator
