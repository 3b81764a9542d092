"""MaskCLIP's scheme (arXiv:2112.01071) on the built-in pictures: dense map, words, key smoothing; nothing is trained.

The words are an ImageNet classifier's, bridged to free text by a sentence encoder (not CLIP). The classifier has no
attention, so its features are their own keys. Objects are told from background as in SCLIP (arXiv:2312.01597): a list
of words for what fills areas, and a threshold of the probability.
"""

_base_ = ['_base_/pictures_segmentation.py', '_base_/segmentation_runtime.py']
stuff = 'sky wall tree wood grass road sea river mountain sands desk bed building cloud lamp door window wardrobe'
more_stuff = 'ceiling shelf curtain stair floor hill rail fence'

model = dict(
    type='vlm_dense.OVEncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True),
    backbone=dict(
        type='vlm_dense.DenseBackbone',
        tower=dict(type='vlm_dense.ImageNetTower', center='data/pictures/center.safetensors', output_stride=16),
    ),
    decode_head=dict(
        type='vlm_dense.DenseMapHead',
        logit_scale=40.0,
        smooth=1.0,
        smooth_weights='mean',
        background_words=f'{stuff} {more_stuff}'.split(),
        prob_threshold=0.1,
    ),
    text_bank=dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.BridgedTextEncoder'), prompt='a_photo'),
)

pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='Resize', scale=(576, 576), keep_ratio=True),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=_base_.all_words),
]
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=pipeline))
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=pipeline))
train_dataloader = None
