"""The best detections of one image over all words.

Shapes: N regions, K words, M detections.
"""

from typing import Any

import torch
from mmcv.ops import batched_nms
from torch import Tensor

FIRST_SLICE = 10  # candidates looked at first, in multiples of the number wanted


def best_detections(
    boxes_N4: Tensor, scores_NK: Tensor, score_thr: float, nms: Any, max_per_img: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress overlapping boxes of the same word and keep the best of all words.

    mmdet's ``multiclass_nms`` gives the same detections after building N * K boxes. Here candidates are taken in
    descending slices until enough survive; that is exact, since greedy suppression never lets a lower
    score touch a higher one. Suppression tells words apart by shifting boxes, which rounds them: shifts follow
    the scores of the words, so results do not depend on the order of the words.

    Args:
        boxes_N4: xyxy px, shared by all words.
        scores_NK: Score of every word for every box.
        score_thr: Only scores above count.
        nms: mm's config of the suppression.
        max_per_img: Detections wanted; below 1 keeps all.

    Returns:
        Boxes (M, 4), scores (M,) in descending order, and labels (M,).
    """
    scores_F = scores_NK.flatten()
    num_words = scores_NK.shape[1]
    total = int((scores_F > score_thr).sum())
    if total == 0:
        return boxes_N4[:0], scores_F[:0], torch.zeros(0, dtype=torch.long, device=boxes_N4.device)
    rank_K = scores_NK.max(dim=0).values.argsort(descending=True).argsort()
    # Soft suppression lowers scores, so that all candidates can matter.
    sliced = max_per_img > 0 and nms.get('type', 'nms') == 'nms'
    taken = min(total, FIRST_SLICE * max_per_img) if sliced else total
    while True:
        top_C, index_C = scores_F.topk(taken)
        region_C, label_C = index_C // num_words, index_C % num_words
        kept_M5, kept_M = batched_nms(boxes_N4[region_C], top_C, rank_K[label_C], nms)
        if taken == total or len(kept_M) >= max_per_img:
            break
        taken = min(total, 4 * taken)
    if max_per_img > 0:
        kept_M5, kept_M = kept_M5[:max_per_img], kept_M[:max_per_img]
    return kept_M5[:, :4], kept_M5[:, 4], label_C[kept_M]
