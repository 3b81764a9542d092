"""Which pairs of a region and a word come before suppression.

Shapes: N regions, K words, k of them, C candidates.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Candidates(NamedTuple):
    """Pairs in the order of regions, and of words within a region.

    Args:
        score_C: Scores.
        region_C: Indices of regions.
        label_C: Indices of words.
        total: How many pairs there are, C of which are here.
    """

    score_C: Tensor
    region_C: Tensor
    label_C: Tensor
    total: int


def best_candidates(parts: Iterable[tuple[int, Tensor]], score_thr: float, wanted: int | None) -> Candidates:
    """The pairs with the highest scores, from scores that come a few words at a time.

    Args:
        parts: First word and scores (N, k) of the words from there on, in the order of the words.
        score_thr: Only scores above count.
        wanted: How many are needed; those that are equal to the last of them come too. None: all.
    """
    total, found = 0, torch.zeros(0)
    scores: list[Tensor] = []
    places: list[Tensor] = []
    for start, scores_Nk in parts:
        score_F = scores_Nk.flatten()
        is_above_F = score_F > score_thr
        above = int(is_above_F.sum())
        total += above
        place_F = _highest(score_F, is_above_F, above, wanted).nonzero()[:, 0]
        width = scores_Nk.shape[1]
        scores.append(score_F[place_F])
        places.append(torch.stack([place_F // width, place_F % width + start]))
        found = torch.cat(scores)
        if wanted is not None and len(scores) > 1 and len(found) > wanted:
            place_2C = torch.cat(places, dim=1)
            keep_C = _highest(found, torch.ones_like(found, dtype=torch.bool), len(found), wanted)
            scores, places = [found[keep_C]], [place_2C[:, keep_C]]
            found = scores[0]
    region_C, label_C = torch.cat(places, dim=1)
    order_C = (region_C * (int(label_C.max()) + 1 if len(label_C) else 1) + label_C).argsort()
    return Candidates(found[order_C], region_C[order_C], label_C[order_C], total)


def _highest(score_F: Tensor, is_above_F: Tensor, above: int, wanted: int | None) -> Tensor:
    if wanted is None or above <= wanted:
        return is_above_F
    return score_F >= score_F.topk(wanted, sorted=False).values.min()
