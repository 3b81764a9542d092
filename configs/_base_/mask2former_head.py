# Mask2Former's head (arXiv:2112.01527) on maps at strides 4 to 32: six layers of deformable attention, then nine layers
# of the decoder. A recipe adds the backbone's channels, the number of queries and what names the masks.
attention = dict(embed_dims=256, num_heads=8, dropout=0.0, batch_first=True)
feed_forward = dict(embed_dims=256, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True))
model = dict(
    mask_head=dict(
        type='vlm_dense.OVMask2FormerHead',
        strides=[4, 8, 16, 32],
        feat_channels=256,
        out_channels=256,
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type='mmdet.MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=32),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=dict(num_levels=3, num_points=4, **attention),
                    ffn_cfg=dict(feedforward_channels=1024, **feed_forward),
                ),
            ),
            positional_encoding=dict(num_feats=128, normalize=True),
        ),
        enforce_decoder_input_project=False,
        positional_encoding=dict(num_feats=128, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=9,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(feedforward_channels=2048, **feed_forward),
            ),
            init_cfg=None,
        ),
    )
)
del attention, feed_forward
