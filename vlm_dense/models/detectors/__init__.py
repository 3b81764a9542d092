"""Detectors."""

from vlm_dense.models.detectors.grounding_detector import GroundingDetector
from vlm_dense.models.detectors.ov_two_stage import OVTwoStageDetector

__all__ = ['GroundingDetector', 'OVTwoStageDetector']
