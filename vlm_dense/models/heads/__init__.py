"""Heads that read regions."""

from vlm_dense.models.heads.bbox import IdentityProjection, OVBBoxHead, RegionOutputs, RegionTrunk
from vlm_dense.models.heads.grounding import GroundingHead
from vlm_dense.models.heads.roi import OVRoIHead

__all__ = ['GroundingHead', 'IdentityProjection', 'OVBBoxHead', 'OVRoIHead', 'RegionOutputs', 'RegionTrunk']
