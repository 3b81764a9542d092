"""The same with crops of 512 pixels, tested at a short side of 512."""

train_steps = [
    dict(type='LoadImageFromFile'),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(
        type='RandomChoiceResize',
        scales=[int(51.2 * step) for step in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=2048,
    ),
    dict(type='RandomCrop', crop_size=(512, 512)),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_steps = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
]
