"""Heads that find masks without names and embed each for words to name it."""

from vlm_dense.models.heads.mask.mask2former_head import OVMask2FormerHead
from vlm_dense.models.heads.mask.mask_former_head import OVMaskFormerHead
from vlm_dense.models.heads.mask.query_embedding import QueryEmbedding
from vlm_dense.models.heads.mask.segments import Segments
from vlm_dense.models.heads.mask.truths import segments_of_instances, segments_of_labels, segments_of_panoptic

__all__ = [
    'OVMask2FormerHead',
    'OVMaskFormerHead',
    'QueryEmbedding',
    'Segments',
    'segments_of_instances',
    'segments_of_labels',
    'segments_of_panoptic',
]
