"""RegionCLIP as published, whatever its data: CLIP's ResNet-50 read as C4, its attention pooling as the box head."""

custom_imports = dict(imports=['vlm_dense.registry'])
clip = dict(name='RN50-quickgelu', pretrained='openai')
width = 1024

model = dict(
    type='vlm_dense.OVTwoStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='regionclip'
    ),
    # Stem, first stage and batch norms are frozen; the fourth stage and the pooling serve regions only.
    backbone=dict(
        type='vlm_dense.TowerBackbone',
        tower=dict(type='vlm_dense.OpenClipTower', **clip),
        out_indices=(2,),
        tune='stages:1',
        with_tail=True,
    ),
    roi_source='backbone',
    roi_head=dict(
        type='vlm_dense.OVRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=1024,
            featmap_strides=[16],
        ),
        shared_head=dict(type='vlm_dense.BackboneTail'),
        bbox_head=dict(
            type='vlm_dense.OVBBoxHead',
            embed_dim=width,
            in_channels=width,
            roi_feat_size=1,
            projection='none',
            classifier=dict(type='vlm_dense.EmbeddingClassifier', temperature=0.01, background='zero'),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=dict(type='L1Loss'),
        ),
    ),
    train_cfg=dict(
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False
            ),
            sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            mask_size=14,
            pos_weight=-1,
        )
    ),
    test_cfg=dict(
        rcnn=dict(
            score_thr=0.001,
            nms=dict(type='soft_nms', method='gaussian', sigma=0.5, min_score=0.001),
            max_per_img=100,
            mask_thr_binary=0.5,
        )
    ),
)

# Annotations come before resizing: where they stand in for proposals, they must be those of the batch picture.
show_800 = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
del clip, width
