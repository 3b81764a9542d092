"""The best detections of one image over all words.

Shapes: N regions, K words, k of them, C candidates, M detections.
"""

from collections.abc import Iterable
from typing import Any

import torch
from mmcv.ops import batched_nms
from torch import Tensor
from torchvision.ops import nms as plain_nms

from vlm_dense.models.heads.bbox.candidates import Candidates, best_candidates

FIRST_SLICE = 10  # candidates looked at first, in multiples of the number wanted
PLAIN = {'type', 'iou_threshold', 'class_agnostic'}


def best_detections(
    boxes_N4: Tensor, scores: Tensor | Iterable[tuple[int, Tensor]], score_thr: float, nms: Any, max_per_img: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress overlapping boxes of the same word and keep the best of all words.

    mmdet's ``multiclass_nms`` gives the same detections, in the same order, after building N * K boxes. Here candidates
    are taken in descending slices until enough survive; that is exact, since greedy suppression never lets a lower
    score touch a higher one. Of equal scores that of the earlier region comes first, then that of the earlier word.

    Args:
        boxes_N4: xyxy px, shared by all words.
        scores: (N, K) of every word for every box; or, some words at a time, first word and (N, k), in the order of the
            words and as often as they are gone through.
        score_thr: Only scores above count.
        nms: mm's config of the suppression.
        max_per_img: Detections wanted; below 1 keeps all.

    Returns:
        Boxes (M, 4), scores (M,) in descending order, and labels (M,).
    """
    parts = [(0, scores)] if isinstance(scores, Tensor) else scores
    # Soft suppression lowers scores, so that all candidates can matter.
    sliced = max_per_img > 0 and nms.get('type', 'nms') == 'nms'
    wanted = FIRST_SLICE * max_per_img if sliced else None
    while True:
        found = best_candidates(parts, score_thr, wanted)
        kept_M, score_M = suppress(boxes_N4[found.region_C], found, nms)
        if wanted is None or len(found.score_C) == found.total or len(kept_M) >= max_per_img:
            break
        wanted = 4 * len(found.score_C)
    if max_per_img > 0:
        kept_M, score_M = kept_M[:max_per_img], score_M[:max_per_img]
    return boxes_N4[found.region_C[kept_M]], score_M, found.label_C[kept_M]


def suppress(boxes_C4: Tensor, found: Candidates, nms: Any) -> tuple[Tensor, Tensor]:
    """Which candidates stay (M,), and their scores (M,), which fall.

    Boxes of different words are told apart by shifting them, which in single precision rounds them: by an eighth of a
    pixel at word 1,202 of a picture of 1,400 pixels, by 2 at word 13,203. Plain suppression shifts in double
    precision, without rounding; for others the best words are shifted least, so that the order of the words does not
    matter.
    """
    score_C, label_C = found.score_C, found.label_C
    if not len(score_C):
        return label_C, score_C
    if nms.get('type', 'nms') == 'nms' and set(nms) <= PLAIN:
        shift_C = label_C.double() * (0 if nms.get('class_agnostic') else boxes_C4.max().double() + 1)
        kept_M = plain_nms(boxes_C4.double() + shift_C[:, None], score_C.double(), nms['iou_threshold'])
        return kept_M, score_C[kept_M]
    best_K = score_C.new_full((int(label_C.max()) + 1,), -torch.inf).scatter_reduce(0, label_C, score_C, 'amax')
    rank_K = best_K.argsort(descending=True, stable=True).argsort()
    kept_M5, kept_M = batched_nms(boxes_C4, score_C, rank_K[label_C], nms)
    return kept_M, kept_M5[:, 4]
