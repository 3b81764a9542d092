"""Finding all defects of annotation files and of folders of label maps in one pass."""

from vlm_dense.datasets.annotation_checks.checking import check_annotations
from vlm_dense.datasets.annotation_checks.defects import KINDS, Defect, Defects
from vlm_dense.datasets.annotation_checks.options import CheckOptions

__all__ = ['KINDS', 'CheckOptions', 'Defect', 'Defects', 'check_annotations']
