"""RoI heads that take the words as an argument."""

from vlm_dense.models.heads.roi.ov_roi_head import OVRoIHead
from vlm_dense.models.heads.roi.region_scorer import TowerRegionScorer

__all__ = ['OVRoIHead', 'TowerRegionScorer']
