"""Zero-shot evaluation of lseg_lite0_pictures on ADE20K-150, for `tools/test.py` with a checkpoint of that recipe.

No word of ADE20K counts as seen: `unseen_miou` is the figure. The recipe calls background what is no object, and
most of ADE20K's pixels are floors, walls and skies: expect little.
"""

_base_ = ['lseg_lite0_pictures.py', '_base_/ade20k.py']
words = dict(file='{{fileDirname}}/../vlm_dense/datasets/vocabularies/ade20k.json')

pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
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
