"""A two-stage detector on a frozen ImageNet classifier, and its schedule: the built-in pictures on two CPU cores.

RoIs are read from the classifier's last map and go through its own head, into the space that its words share. A recipe
adds the classifier of regions and what else its method has.
"""

_base_ = ['pictures_detection.py', 'pictures_schedule.py']
custom_imports = dict(imports=['vlm_dense.registry'])
center = 'data/pictures/center.safetensors'
tower = dict(type='vlm_dense.ImageNetTower', center=center, output_stride=16)
memory = 2**30  # bytes; 300 scenes need 0.4 GB of stage maps
norm = dict(type='GN', num_groups=8)
last_map_rois = dict(
    type='SingleRoIExtractor',
    roi_layer=dict(type='RoIAlign', output_size=4, sampling_ratio=2),
    out_channels=320,
    featmap_strides=[16],
)

model = dict(
    type='vlm_dense.OVTwoStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, pad_size_divisor=32
    ),
    text_bank=dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.BridgedTextEncoder'), prompt='a_photo'),
    backbone=dict(type='vlm_dense.TowerBackbone', tower=tower, out_indices=(1, 2, 3), memory_bytes=memory),
    neck=dict(type='FPN', in_channels=[40, 112, 320], out_channels=64, num_outs=3, norm_cfg=norm),
    roi_source='backbone',
    rpn_head=dict(
        type='RPNHead',
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(
            type='AnchorGenerator', base_sizes=[88, 128, 176], scales=[1], ratios=[0.5, 1.0, 2.0], strides=[8, 16, 16]
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.5, 0.5, 0.5, 0.5]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.1, loss_weight=1.0),
    ),
    roi_head=dict(
        type='vlm_dense.OVRoIHead',
        bbox_roi_extractor=last_map_rois,
        shared_head=dict(type='vlm_dense.TowerTail', tower=tower, centered=True),
        bbox_head=dict(
            type='vlm_dense.OVBBoxHead',
            embed_dim=1280,
            in_channels=1280,
            roi_feat_size=4,
            box_trunk=dict(num_fcs=1, fc_channels=128, norm_cfg=norm),
            projection=dict(type='vlm_dense.IdentityProjection'),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.6, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(type='RandomSampler', num=128, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
        ),
        rpn_proposal=dict(nms_pre=500, max_per_img=100, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=8),
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False
            ),
            sampler=dict(type='RandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=True),
            pos_weight=-1,
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=500, max_per_img=40, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=8),
        rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
    ),
)

# Without flips a picture, and what is cut out of it, goes through the frozen towers once.
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'RandomFlip']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'bbox_head.projection': dict(lr_mult=0.1)}))
