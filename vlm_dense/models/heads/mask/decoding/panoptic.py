"""One segment per pixel: things apart from each other, stuff of one word together.

Shapes: N masks, n that are kept, K words, r rows, H W pixels of the picture.
"""

from typing import NamedTuple

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.heads.mask.decoding.segment_scores import best_words
from vlm_dense.models.heads.mask.decoding.strips import Frame, MaskWindow, Strips

INSIDE = 0.5  # A pixel whose mask has as much belongs to the mask.


class PanopticRules(NamedTuple):
    """mmdet's names and values, which are MaskFormer's (arXiv:2107.06278, Sec. 3.4) in detectron2.

    Args:
        object_mask_thr: Segments need a higher score.
        iou_thr: Segments that keep a smaller share of their mask beside the others are dropped.
        filter_low_score: Whether pixels count only where the mask itself has `INSIDE`.
    """

    object_mask_thr: float = 0.8
    iou_thr: float = 0.8
    filter_low_score: bool = False


def panoptic_map(
    score_NS: Tensor, window: MaskWindow, frame: Frame, is_thing_K: Tensor, rules: PanopticRules
) -> Tensor:
    """Segments of a picture, as mmdet's ``MaskFormerFusionHead.panoptic_postprocess`` makes them.

    Args:
        score_NS: Probabilities of the words, from column K on of the background; the rest up to 1 is void.
        window: The masks, of the whole input.
        frame: Of the picture.
        is_thing_K: Boolean.
        rules: See there.

    Returns:
        (H, W) int32: word + 1000 * instance; instances count from 1, stuff has instance 0; K where nothing is.

    Raises:
        ConfigError: If there are more words than fit below 1000.
    """
    words = len(is_thing_K)
    if words >= INSTANCE_OFFSET:
        raise ConfigError(
            f'panoptic maps hold word + {INSTANCE_OFFSET} * instance and {words} words do not fit; '
            f'ask for at most {INSTANCE_OFFSET - 1}, or set test_cfg.panoptic_on=False.'
        )
    score_N, word_N, is_word_N = best_words(score_NS, words)
    keep_N = is_word_N & (score_N > rules.object_mask_thr)
    score_n, word_n = score_N[keep_N], word_N[keep_N]
    if not len(word_n):
        return torch.full(tuple(frame.original), words, dtype=torch.int32, device=score_NS.device)
    strips = Strips([window._replace(mask_Nhw=window.mask_Nhw[keep_N])], frame, 'original')
    winner_HW, is_inside_HW, area_n = _compete(strips, score_n)
    won_n = torch.bincount(winner_HW.flatten(), minlength=len(word_n))
    stays_n = (won_n > 0) & (area_n > 0) & (won_n.double() / area_n >= rules.iou_thr)
    is_thing_n = is_thing_K[word_n]
    instance_n = (stays_n & is_thing_n).cumsum(dim=0) * is_thing_n
    value_n = torch.where(stays_n, word_n + instance_n * INSTANCE_OFFSET, words)
    found_HW = value_n[winner_HW]
    if rules.filter_low_score:
        found_HW = torch.where(is_inside_HW, found_HW, words)
    return found_HW.int()


def _compete(strips: Strips, score_n: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which mask has most at every pixel (H, W), whether it is inside there (H, W), and the masks' own areas (n,)."""
    winners, insides = [], []
    area_n = torch.zeros(len(score_n), dtype=torch.long, device=score_n.device)
    for _, _, prob_nrW in strips:
        winner_rW = (score_n[:, None, None] * prob_nrW).argmax(dim=0)
        is_inside_nrW = prob_nrW >= INSIDE
        area_n += is_inside_nrW.flatten(1).sum(dim=1)
        winners.append(winner_rW)
        insides.append(is_inside_nrW.gather(0, winner_rW[None])[0])
    return torch.cat(winners), torch.cat(insides), area_n
