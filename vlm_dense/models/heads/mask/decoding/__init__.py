"""From masks and their scores to labels of pixels, panoptic maps and instances."""

from vlm_dense.models.heads.mask.decoding.instances import MAX_PER_IMAGE, instances
from vlm_dense.models.heads.mask.decoding.panoptic import PanopticRules, panoptic_map
from vlm_dense.models.heads.mask.decoding.segment_scores import things_of
from vlm_dense.models.heads.mask.decoding.semantic import SemanticMaps, SemanticRules
from vlm_dense.models.heads.mask.decoding.strips import Frame, MaskWindow, MeanStrips, Strips

__all__ = [
    'MAX_PER_IMAGE',
    'Frame',
    'MaskWindow',
    'MeanStrips',
    'PanopticRules',
    'SemanticMaps',
    'SemanticRules',
    'Strips',
    'instances',
    'panoptic_map',
    'things_of',
]
