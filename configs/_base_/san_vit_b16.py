"""SAN with CLIP ViT-B/16: a side network over pictures, CLIP over pictures half as large."""

crop_size = (640, 640)
clip = dict(name='ViT-B-16-quickgelu', pretrained='openai')
model = dict(
    type='vlm_dense.SideAdapterSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[122.7709, 116.7460, 104.0937],
        std=[68.5005, 66.6322, 70.3232],
        bgr_to_rgb=True,
        size=crop_size,
        test_cfg=dict(size_divisor=32),
    ),
    clip=dict(type='vlm_dense.OpenClipTower', **clip),
    encoder_resolution=0.5,
    image_encoder=dict(
        type='VisionTransformer',
        img_size=(224, 224),
        patch_size=16,
        patch_pad=0,
        embed_dims=768,
        num_layers=9,
        num_heads=12,
        out_origin=True,
        out_indices=(2, 5, 8),
        output_cls_token=True,
        pre_norm=True,
        norm_cfg=dict(type='LN', eps=1e-5),
        act_cfg=dict(type='QuickGELU'),
        frozen_exclude=['pos_embed'],  # all that learns of CLIP
    ),
    text_bank=dict(
        type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.OpenClipTextEncoder', **clip), prompt='vild_14'
    ),
    decode_head=dict(
        type='vlm_dense.OVSideAdapterHead',
        deep_supervision_idxs=[7],
        classifier=dict(
            type='vlm_dense.EmbeddingClassifier', embed_dim=512, temperature=0.01, background=None, void='learned'
        ),
        san_cfg=dict(
            in_channels=3,
            clip_channels=768,
            embed_dims=240,
            patch_size=16,
            num_queries=100,
            cfg_encoder=dict(num_encode_layer=8, num_heads=6, mlp_ratio=4),
            fusion_index=[0, 1, 2, 3],
            cfg_decoder=dict(num_heads=12, num_layers=1, embed_channels=256, mlp_channels=256, num_mlp=3, rescale=True),
            norm_cfg=dict(type='LN', eps=1e-6),
        ),
        maskgen_cfg=dict(
            sos_token_num=100,
            num_layers=3,
            embed_dims=768,
            num_heads=12,
            out_dims=512,
            act_cfg=dict(type='QuickGELU'),
            norm_cfg=dict(type='LN', eps=1e-5),
        ),
        train_cfg=dict(
            num_points=12544,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
            assigner=dict(
                type='HungarianAssigner',
                match_costs=[
                    dict(type='ClassificationCost', weight=2.0),
                    dict(type='CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
                    dict(type='DiceCost', weight=5.0, pred_act=True, eps=1.0),
                ],
            ),
        ),
        loss_decode=[
            dict(type='vlm_dense.VoidWeightedCrossEntropy', void_weight=0.1, loss_weight=2.0),
            dict(
                type='CrossEntropyLoss',
                use_sigmoid=True,
                avg_non_ignore=True,
                loss_name='loss_mask_ce',
                loss_weight=5.0,
            ),
            dict(
                type='DiceLoss',
                ignore_index=None,
                naive_dice=True,
                eps=1,
                loss_name='loss_mask_dice',
                loss_weight=5.0,
            ),
        ],
    ),
    test_cfg=dict(mode='whole'),
)
