"""Training-time branches: what a method adds to ordinary detector training."""

from vlm_dense.models.branches.base import Branch, Regions
from vlm_dense.models.branches.crop_teacher import CropTeacher
from vlm_dense.models.branches.distill_regions import DistillRegions, embedding_l1

__all__ = ['Branch', 'CropTeacher', 'DistillRegions', 'Regions', 'embedding_l1']
