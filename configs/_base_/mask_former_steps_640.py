"""MaskFormer's treatment of pictures: short sides of 320 to 960 pixels, crops of 640; tested at a short side of 640."""

train_steps = [
    dict(type='LoadImageFromFile'),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(
        type='RandomChoiceResize',
        scales=[64 * step for step in range(5, 16)],
        resize_type='ResizeShortestEdge',
        max_size=2560,
    ),
    dict(type='RandomCrop', crop_size=(640, 640)),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_steps = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
]
