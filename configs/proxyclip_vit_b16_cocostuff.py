"""ProxyCLIP on COCO-Stuff, 171 words; nothing is trained, and no word counts as seen."""

_base_ = ['_base_/proxyclip_vit_b16.py', '_base_/cocostuff.py', '_base_/segmentation_runtime.py']

pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 336), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=_base_.words),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=pipeline, **_base_.test_set),
)
val_dataloader = test_dataloader
test_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
val_evaluator = test_evaluator
