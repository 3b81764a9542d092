"""Training-time branches: what a method adds to ordinary detector training."""

from vlm_dense.models.branches.base import Branch, Regions
from vlm_dense.models.branches.crop_teacher import CropTeacher
from vlm_dense.models.branches.distill_regions import DistillRegions, embedding_l1
from vlm_dense.models.branches.picture_captions import PictureCaptions
from vlm_dense.models.branches.region_concepts import RegionConcepts
from vlm_dense.models.branches.roi_teacher import RoiTeacher

__all__ = [
    'Branch',
    'CropTeacher',
    'DistillRegions',
    'PictureCaptions',
    'RegionConcepts',
    'Regions',
    'RoiTeacher',
    'embedding_l1',
]
