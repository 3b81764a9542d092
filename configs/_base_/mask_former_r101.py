"""MaskFormer (arXiv:2107.06278) with ResNet-101, whose masks are named by 512-d words; a method says by which."""

drop = dict(attn_drop=0.1, proj_drop=0.1)
attention = dict(embed_dims=256, num_heads=8, batch_first=True, **drop)

model = dict(
    type='vlm_dense.OVMaskSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(640, 640),
    ),
    backbone=dict(
        type='ResNet',
        depth=101,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    decode_head=dict(
        type='vlm_dense.OVMaskFormerHead',
        in_channels=[256, 512, 1024, 2048],
        feat_channels=256,
        out_channels=256,
        num_queries=100,
        pixel_decoder=dict(
            type='mmdet.PixelDecoder', norm_cfg=dict(type='GN', num_groups=32), act_cfg=dict(type='ReLU')
        ),
        positional_encoding=dict(num_feats=128, normalize=True),
        transformer_decoder=dict(
            num_layers=6,
            return_intermediate=True,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(embed_dims=256, feedforward_channels=2048, num_fcs=2, ffn_drop=0.1),
            ),
        ),
        query_embedding=dict(num_layers=2),
        classifier=dict(
            type='vlm_dense.EmbeddingClassifier', embed_dim=512, temperature=0.01, background=None, void='learned'
        ),
        void_weight=0.1,
    ),
    test_cfg=dict(mode='whole'),
)
del attention, drop
