"""Detectors, segmentors and their parts."""

from vlm_dense.models.classifiers import EmbeddingClassifier, score_ensemble
from vlm_dense.models.requests import vocabulary_of, words_of

__all__ = ['EmbeddingClassifier', 'score_ensemble', 'vocabulary_of', 'words_of']
