"""From RoI features to embeddings, boxes and scores."""

from vlm_dense.models.heads.bbox.ov_bbox_head import OVBBoxHead, RegionOutputs
from vlm_dense.models.heads.bbox.projection import IdentityProjection
from vlm_dense.models.heads.bbox.trunk import RegionTrunk

__all__ = ['IdentityProjection', 'OVBBoxHead', 'RegionOutputs', 'RegionTrunk']
