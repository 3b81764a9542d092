"""ViLD-ensemble (arXiv:2104.13921) from stored regions: boxes and teacher embeddings are computed before training.

First: `python tools/precompute_regions.py configs/vild_r50_lvis_bank.py --proposals FILE`, see projects/vild/README.md.
"""

_base_ = ['vild_r50_lvis.py']

model = dict(branches=dict(image=dict(proposals='bank', teacher=dict(bank='data/lvis_v1/regions'))))

# A bank cannot answer for cropped pictures: one size in place of large-scale jitter.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=_base_.train_words),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
