"""RoI heads that take the words as an argument."""

from vlm_dense.models.heads.roi.ov_roi_head import OVRoIHead

__all__ = ['OVRoIHead']
