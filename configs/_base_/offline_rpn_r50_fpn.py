"""A frozen proposal network of its own: detectron2's R50-FPN, as RegionCLIP (arXiv:2112.09106) takes it for LVIS."""

proposals = dict(
    type='vlm_dense.OfflineProposals',
    checkpoint='checkpoints/rpn_lvis_866.pth',
    model=dict(
        type='mmdet.RPN',
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], pad_size_divisor=32
        ),
        backbone=dict(type='ResNet', depth=50, style='caffe', norm_cfg=dict(type='BN', requires_grad=False)),
        neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
        rpn_head=dict(
            type='RPNHead',
            in_channels=256,
            feat_channels=256,
            anchor_generator=dict(
                type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
            ),
        ),
        train_cfg=None,
        test_cfg=dict(
            rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
        ),
    ),
)
