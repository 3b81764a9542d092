"""Layers that several models share."""

from vlm_dense.models.layers.modulated_deform_conv import ModulatedDeformConv2d

__all__ = ['ModulatedDeformConv2d']
