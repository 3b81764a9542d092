"""Data sets with words, their transforms, and the built-in pictures."""

from vlm_dense.datasets.cut_masked_region import CutMaskedRegion
from vlm_dense.datasets.detection import VocabularyCocoDataset
from vlm_dense.datasets.detection_as_grounding import DetectionAsGrounding
from vlm_dense.datasets.episodes import FoldEpisodes
from vlm_dense.datasets.folder_episodes import FolderEpisodes
from vlm_dense.datasets.grounding import GroundingDataset
from vlm_dense.datasets.load_label_map import LoadLabelMap
from vlm_dense.datasets.mask_nouns import MaskNounDataset
from vlm_dense.datasets.odinw import OdinwSet, odinw_sets
from vlm_dense.datasets.panoptic import LoadPanopticAnnotations, VocabularyPanopticDataset
from vlm_dense.datasets.phrase_cut import PhraseCutDataset
from vlm_dense.datasets.phrase_grounding import PhraseGroundingDataset
from vlm_dense.datasets.phrase_mask import LoadPhraseMask
from vlm_dense.datasets.segmentation import VocabularySegDataset
from vlm_dense.datasets.shards.dataset import CaptionShards
from vlm_dense.datasets.transforms import AttachVocabulary
from vlm_dense.datasets.vocabularies import vocabulary_path
from vlm_dense.datasets.weighted_mix import WeightedMix

__all__ = [
    'AttachVocabulary',
    'CaptionShards',
    'CutMaskedRegion',
    'DetectionAsGrounding',
    'FoldEpisodes',
    'FolderEpisodes',
    'GroundingDataset',
    'LoadLabelMap',
    'LoadPanopticAnnotations',
    'LoadPhraseMask',
    'MaskNounDataset',
    'OdinwSet',
    'PhraseCutDataset',
    'PhraseGroundingDataset',
    'VocabularyCocoDataset',
    'VocabularyPanopticDataset',
    'VocabularySegDataset',
    'WeightedMix',
    'odinw_sets',
    'vocabulary_path',
]
