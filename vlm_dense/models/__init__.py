"""Detectors, segmentors and their parts."""

from vlm_dense import checkpoints
from vlm_dense.models import (
    branches,
    decode_heads,
    detectors,
    heads,
    language,
    losses,
    necks,
    proposals,
    regions,
    segmentors,
)
from vlm_dense.models.classifiers import EmbeddingClassifier, LinearClassifier, ScoreFusion, calibrate
from vlm_dense.models.detectors import GroundingDetector, OVTwoStageDetector
from vlm_dense.models.region_namer import RegionNamer
from vlm_dense.models.region_prompts import RegionPrompts
from vlm_dense.models.requests import WordRows, vocabulary_of, words_of

# mmengine's checkpoints load without running code from here on.
checkpoints.install()

__all__ = [
    'EmbeddingClassifier',
    'GroundingDetector',
    'LinearClassifier',
    'OVTwoStageDetector',
    'RegionNamer',
    'RegionPrompts',
    'ScoreFusion',
    'WordRows',
    'branches',
    'calibrate',
    'decode_heads',
    'detectors',
    'heads',
    'language',
    'losses',
    'necks',
    'proposals',
    'regions',
    'segmentors',
    'vocabulary_of',
    'words_of',
]
