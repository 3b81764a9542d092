"""From scores of regions to the detections of one picture.

Shapes: N regions, K words of a prompt, C candidates, M detections.
"""

from typing import Any, NamedTuple

import torch
from mmdet.structures.bbox import scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor

from vlm_dense.models.heads.bbox.candidates import Candidates, best_candidates
from vlm_dense.models.heads.bbox.suppression import suppress


class ScoredRegions(NamedTuple):
    """Regions of one picture under one prompt.

    Args:
        score_NK: Of every word.
        centerness_N: In [0, 1].
        delta_N4: Encoded boxes.
        anchor_N4: xyxy px of the network's input.
    """

    score_NK: Tensor
    centerness_N: Tensor
    delta_N4: Tensor
    anchor_N4: Tensor


def detect(
    regions: ScoredRegions, level_sizes: list[int], coder: Any, cfg: Any, meta: dict, rescale: bool
) -> InstanceData:
    """Boxes xyxy px, scores and labels (rows of the prompt) of the words that a prompt finds, best first.

    The threshold and the ``nms_pre`` best of a level look at the words' scores alone; a detection's score is the root
    of word score times centerness. Corners are counted as pixels: 1 is added to the lower right one at the end, as
    in the released code, also after ``rescale``.

    Args:
        regions: Of all levels, finest first.
        level_sizes: Regions per level.
        coder: Decodes boxes.
        cfg: ``score_thr``, ``nms_pre``, ``nms``, ``max_per_img`` and ``min_bbox_size`` of the test.
        meta: ``img_shape`` and, to rescale, ``scale_factor``.
        rescale: Boxes in the picture as it was loaded.
    """
    found = _candidates(regions, level_sizes, cfg)
    region_C = found.region_C
    boxes_C4 = coder.decode(regions.anchor_N4[region_C], regions.delta_N4[region_C], max_shape=meta['img_shape'])
    if rescale:
        boxes_C4 = scale_boxes(boxes_C4, [1 / factor for factor in meta['scale_factor']])
    least = cfg.get('min_bbox_size', -1)
    if least >= 0:
        keep_C = ((boxes_C4[:, 2:] - boxes_C4[:, :2]) > least).all(1)
        boxes_C4 = boxes_C4[keep_C]
        found = Candidates(found.score_C[keep_C], region_C[keep_C], found.label_C[keep_C], found.total)
    kept_M, score_M = suppress(boxes_C4, found, cfg['nms'])
    boxes_M4 = boxes_C4[kept_M] + boxes_C4.new_tensor([0, 0, 1, 1])
    return best_of([InstanceData(bboxes=boxes_M4, scores=score_M, labels=found.label_C[kept_M])], cfg['max_per_img'])


def best_of(parts: list[InstanceData], max_per_img: int) -> InstanceData:
    """The best of all parts, every one if ``max_per_img`` is below 1, in falling order; equal scores stay in order."""
    union = InstanceData.cat(parts)
    order_M = union.scores.argsort(descending=True, stable=True)
    return union[order_M[:max_per_img] if max_per_img > 0 else order_M]


def _candidates(regions: ScoredRegions, level_sizes: list[int], cfg: Any) -> Candidates:
    wanted = cfg.get('nms_pre', -1)
    parts, start = [], 0
    for scores_nK in regions.score_NK.split(level_sizes):
        part = best_candidates([(0, scores_nK)], cfg.get('score_thr', 0.0), wanted if wanted > 0 else None)
        parts.append(part._replace(region_C=part.region_C + start))
        start += len(scores_nK)
    score_C, region_C, label_C = (torch.cat(column) for column in list(zip(*parts, strict=True))[:3])
    score_C = (score_C * regions.centerness_N[region_C]).sqrt()
    return Candidates(score_C, region_C, label_C, len(score_C))
