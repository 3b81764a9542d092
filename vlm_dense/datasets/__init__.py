"""Data sets with words, their transforms, and the built-in pictures."""

from vlm_dense.datasets.detection import VocabularyCocoDataset
from vlm_dense.datasets.grounding import GroundingDataset
from vlm_dense.datasets.load_label_map import LoadLabelMap
from vlm_dense.datasets.odinw import OdinwSet, odinw_sets
from vlm_dense.datasets.phrase_cut import PhraseCutDataset
from vlm_dense.datasets.phrase_grounding import PhraseGroundingDataset
from vlm_dense.datasets.phrase_mask import LoadPhraseMask
from vlm_dense.datasets.segmentation import VocabularySegDataset
from vlm_dense.datasets.transforms import AttachVocabulary
from vlm_dense.datasets.vocabularies import vocabulary_path

__all__ = [
    'AttachVocabulary',
    'GroundingDataset',
    'LoadLabelMap',
    'LoadPhraseMask',
    'OdinwSet',
    'PhraseCutDataset',
    'PhraseGroundingDataset',
    'VocabularyCocoDataset',
    'VocabularySegDataset',
    'odinw_sets',
    'vocabulary_path',
]
