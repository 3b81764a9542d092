"""Figures for words with and without training labels; importing this room registers its metrics."""

from vlm_dense.evaluation.base_novel_box_metric import BaseNovelBoxMetric
from vlm_dense.evaluation.panoptic_metric import PanopticQualityMetric
from vlm_dense.evaluation.phrase_grounding_metric import PhraseGroundingMetric
from vlm_dense.evaluation.region_naming_metric import RegionNamingMetric
from vlm_dense.evaluation.seen_unseen_iou_metric import SeenUnseenIoUMetric
from vlm_dense.evaluation.write_predictions import WritePredictions

__all__ = [
    'BaseNovelBoxMetric',
    'PanopticQualityMetric',
    'PhraseGroundingMetric',
    'RegionNamingMetric',
    'SeenUnseenIoUMetric',
    'WritePredictions',
]
