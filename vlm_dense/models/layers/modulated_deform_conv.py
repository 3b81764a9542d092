"""Convolution at learned offsets with a learned mask (arXiv:1811.11168)."""

from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2d

__all__ = ['ModulatedDeformConv2d']
