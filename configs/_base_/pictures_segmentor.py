"""What segmentors that train on the built-in pictures share: the words, what pictures go through, the loops.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP).
"""

_base_ = ['pictures_segmentation.py', 'segmentation_runtime.py']
tower = dict(type='vlm_dense.ImageNetTower', center='data/pictures/center.safetensors')

model = dict(
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5] * 3,
        std=[127.5] * 3,
        bgr_to_rgb=True,
        size_divisor=32,
        test_cfg=dict(size_divisor=32),
    ),
    text_bank=dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.BridgedTextEncoder'), prompt='a_photo'),
)

train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='RandomResize', scale={{_base_.image_size}}, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size={{_base_.image_size}}),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary={{_base_.base_words}}),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

log_processor = dict(by_epoch=False)
