"""Heads that read regions."""

from vlm_dense.models.heads.bbox import CenteredProjection, OVBBoxHead, RegionOutputs, RegionTrunk
from vlm_dense.models.heads.roi import OVRoIHead

__all__ = ['CenteredProjection', 'OVBBoxHead', 'OVRoIHead', 'RegionOutputs', 'RegionTrunk']
