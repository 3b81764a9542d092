"""Detectors."""

from vlm_dense.models.detectors.exchanged_words import ExchangedWordsDetector
from vlm_dense.models.detectors.grounding_detector import GroundingDetector
from vlm_dense.models.detectors.ov_mask_detector import OVMaskDetector
from vlm_dense.models.detectors.ov_two_stage import OVTwoStageDetector

__all__ = ['ExchangedWordsDetector', 'GroundingDetector', 'OVMaskDetector', 'OVTwoStageDetector']
