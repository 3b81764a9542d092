"""Heads that read regions, and heads that find masks."""

from vlm_dense.models.heads.bbox import IdentityProjection, OVBBoxHead, RegionOutputs, RegionTrunk
from vlm_dense.models.heads.grounding import GroundingHead
from vlm_dense.models.heads.mask import OVMask2FormerHead, OVMaskFormerHead, Segments
from vlm_dense.models.heads.roi import OVRoIHead

__all__ = [
    'GroundingHead',
    'IdentityProjection',
    'OVBBoxHead',
    'OVMask2FormerHead',
    'OVMaskFormerHead',
    'OVRoIHead',
    'RegionOutputs',
    'RegionTrunk',
    'Segments',
]
