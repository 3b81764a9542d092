"""Non-maximum suppression, as ``mmcv._ext`` calls it.

Sources: soft-NMS, arXiv:1704.04503, eqs. (linear) and (gaussian) of Sec. 3; nms_match groups what plain NMS
removes (PISA, arXiv:1904.04821).
"""

import torch
import torchvision
from torch import Tensor

from vlm_dense.compat.ops.boxes import overlap
from vlm_dense.compat.ops.precision import to_compute

NAIVE, LINEAR, GAUSSIAN = 0, 1, 2


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, by falling score.

    Args:
        boxes: (N, 4), xyxy in pixels.
        scores: (N,).
        iou_threshold: A box goes when its overlap with a better one is above this.
        offset: 0 or 1, added to widths and heights. Moving the right and lower sides by the offset
            changes areas and intersections in just that way.

    Returns:
        (n,) int64, on the device of ``boxes``.
    """
    boxes, scores = to_compute(boxes, boxes, scores)
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes, scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the scores of overlapping boxes instead of removing them.

    Args:
        boxes: (N, 4), xyxy in pixels.
        scores: (N,).
        dets: (N, 5), filled in place: the first n rows are the kept boxes with their lowered scores.
        iou_threshold: Overlap from which the naive and linear methods act.
        sigma: Width of the gaussian method.
        min_score: Boxes whose score falls below are dropped.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: 0 or 1, added to widths and heights.

    Returns:
        (n,) int64 indices into ``boxes``, in the order of ``dets``.
    """
    scores = scores.clone()
    rest = torch.arange(len(boxes), device=boxes.device)
    kept: list[int] = []
    while len(rest):
        best = rest[scores[rest].argmax()]
        dets[len(kept), :4], dets[len(kept), 4] = boxes[best], scores[best]
        kept.append(int(best))
        rest = rest[rest != best]
        iou = overlap(boxes[best], boxes[rest], offset=offset)
        scores[rest] = scores[rest] * _decay(iou, iou_threshold, sigma, method)
        rest = rest[scores[rest] >= min_score]
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def _decay(iou: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == GAUSSIAN:
        return torch.exp(-iou.square() / sigma)
    lowered = 1 - iou if method == LINEAR else torch.zeros_like(iou)
    return torch.where(iou >= iou_threshold, lowered, torch.ones_like(iou))


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """For every kept box, its index followed by the indices that it suppresses, all by falling score.

    Args:
        dets: (N, 5), boxes and scores, on the CPU (mmcv moves them there).
        iou_threshold: A box goes when its overlap with a better one reaches this.
    """
    rest = dets[:, 4].argsort(descending=True, stable=True)
    groups = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        goes = overlap(dets[best, :4], dets[rest, :4]) >= iou_threshold
        groups.append([int(best), *rest[goes].tolist()])
        rest = rest[~goes]
    return groups
