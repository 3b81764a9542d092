"""Necks: maps of a backbone to maps for a detector."""

from vlm_dense.models.necks.simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['SimpleFeaturePyramid']
