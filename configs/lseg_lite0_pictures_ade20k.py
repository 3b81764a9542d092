"""Zero-shot evaluation of lseg_lite0_pictures on ADE20K-150, for `tools/test.py` with a checkpoint of that recipe.

No word of ADE20K counts as seen: `unseen_miou` is the figure. The recipe calls background what is no object, and
most of ADE20K's pixels are floors, walls and skies: expect little.
"""

_base_ = ['lseg_lite0_pictures.py']
words = dict(file='{{fileDirname}}/../vlm_dense/datasets/vocabularies/ade20k.json')

pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=words),
]
val_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='vlm_dense.VocabularySegDataset',
        vocabulary=words,
        background=False,
        reduce_zero_label=True,
        img_suffix='.jpg',
        seg_map_suffix='.png',
        data_root='data/ade/ADEChallengeData2016',
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        remedy='unpack ADEChallengeData2016.zip of the MIT Scene Parsing Benchmark into data/ade.',
        test_mode=True,
        pipeline=pipeline,
    ),
)
test_dataloader = val_dataloader
