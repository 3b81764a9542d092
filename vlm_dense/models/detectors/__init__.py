"""Detectors."""

from vlm_dense.models.detectors.ov_two_stage import OVTwoStageDetector

__all__ = ['OVTwoStageDetector']
