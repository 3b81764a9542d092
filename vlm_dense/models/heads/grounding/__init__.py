"""Heads that ground words in a picture: regions are compared with the tokens of a text."""

from vlm_dense.models.heads.grounding.grounding_head import GroundingHead
from vlm_dense.models.heads.grounding.tower_alignment import TowerAlignment

__all__ = ['GroundingHead', 'TowerAlignment']
