"""MaskCLIP (arXiv:2112.01071) with ResNet-50 at stride 8: values in place of the attention pooling."""

_base_ = ['maskclip_vit_b16.py']

model = dict(
    backbone=dict(tower=dict(name='RN50-quickgelu', output_stride=8)),
    text_bank=dict(encoder=dict(name='RN50-quickgelu')),
)
