"""Masks on the built-in pictures: a frozen classifier with Mask2Former's head (arXiv:2112.01527), 64 channels wide.

What names them is up to the recipe. Background is a segment too, with a learned row behind the words.
"""

_base_ = ['pictures_segmentor.py']
channels = 64
attention = dict(embed_dims=channels, num_heads=4, dropout=0.0, batch_first=True)
feed_forward = dict(embed_dims=channels, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True))
positions = dict(num_feats=channels // 2, normalize=True)

model = dict(
    type='vlm_dense.OVMaskSegmentor',
    backbone=dict(type='vlm_dense.TowerBackbone', tower=_base_.tower),
    decode_head=dict(
        type='vlm_dense.OVMask2FormerHead',
        in_channels=[24, 40, 112, 320],
        strides=[4, 8, 16, 32],
        feat_channels=channels,
        out_channels=channels,
        num_queries=20,
        num_transformer_feat_level=3,
        classifier=dict(
            type='vlm_dense.EmbeddingClassifier',
            embed_dim=1280,
            temperature=0.07,
            background='learned',
            void='learned',
        ),
        pixel_decoder=dict(
            type='mmdet.MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=8),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=1,
                layer_cfg=dict(
                    self_attn_cfg=dict(num_levels=3, num_points=4, **attention),
                    ffn_cfg=dict(feedforward_channels=2 * channels, **feed_forward),
                ),
            ),
            positional_encoding=positions,
        ),
        positional_encoding=positions,
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(feedforward_channels=4 * channels, **feed_forward),
            ),
            init_cfg=None,
        ),
        train_cfg=dict(num_points=2048),
    ),
)
del attention, channels, feed_forward, positions

steps = 800  # eleven times through the 300 pictures
train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01), clip_grad=dict(max_norm=1.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=50, end=steps),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=steps))
