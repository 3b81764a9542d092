"""GLIP-T (arXiv:2112.03857): Swin-T, BERT-base, and a dynamic head of six blocks that fuses image and text.

BERT lies in a local folder or in Hugging Face's cache: `vlm-dense fetch hf:bert-base-uncased`.
"""

custom_imports = dict(imports=['vlm_dense.registry'])
model = dict(
    type='vlm_dense.GroundingDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[103.53, 116.28, 123.675],
        std=[57.375, 57.12, 58.395],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='SwinTransformer',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.2,
        out_indices=(1, 2, 3),
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth',
        ),
    ),
    neck=dict(
        type='FPN',
        in_channels=[192, 384, 768],
        out_channels=256,
        num_outs=5,
        add_extra_convs='on_output',
        relu_before_extra_convs=True,
    ),
    bbox_head=dict(
        type='vlm_dense.GroundingHead',
        in_channels=256,
        feat_channels=256,
        early_fuse=True,
        num_blocks=6,
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=8,
            scales_per_octave=1,
            strides=[8, 16, 32, 64, 128],
            center_offset=0.5,
        ),
        # Boxes end at their last pixel, as in the released weights.
        bbox_coder=dict(type='DeltaXYWHBBoxCoderForGLIP', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type='vlm_dense.TokenFocalLoss', alpha=0.25, gamma=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    language_model=dict(type='vlm_dense.TokenLanguageModel', model='bert-base-uncased', max_tokens=256),
    train_cfg=dict(
        assigner=dict(type='ATSSAssigner', topk=9, iou_calculator=dict(type='BboxOverlaps2D_GLIP')),
        allowed_border=-1,
        pos_weight=-1,
    ),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100
    ),
)
