"""MaskFormer with DeepLab's ResNet-101: three convolutions (64, 64, 128 channels) in its stem, and dilated at the end.

Where its weights come from: projects/zsseg/README.md.
"""

_base_ = ['mask_former_r101.py']

model = dict(
    backbone=dict(
        deep_stem=True,
        stem_channels=128,
        multi_grid=(1, 2, 4),
        init_cfg=dict(checkpoint='checkpoints/resnet101c_deeplab.pth'),
    )
)
