"""Data sets with words, their transforms, and the built-in pictures."""

from vlm_dense.datasets.detection import VocabularyCocoDataset
from vlm_dense.datasets.segmentation import VocabularySegDataset
from vlm_dense.datasets.transforms import AttachVocabulary
from vlm_dense.datasets.vocabularies import vocabulary_path

__all__ = ['AttachVocabulary', 'VocabularyCocoDataset', 'VocabularySegDataset', 'vocabulary_path']
