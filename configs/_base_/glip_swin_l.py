"""GLIP-L (arXiv:2112.03857): Swin-L, BERT-base, and a dynamic head of eight blocks."""

_base_ = ['glip_swin_t.py']
model = dict(
    backbone=dict(
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.4,
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window12_384_22k.pth'
        ),
    ),
    neck=dict(in_channels=[384, 768, 1536]),
    bbox_head=dict(num_blocks=8, use_checkpoint=True),
)
