"""Which words of a bank lie close to each other."""

import torch.nn.functional as F
from torch import Tensor

ROWS_AT_ONCE = 1024  # bounds the table of cosines to so many rows


def nearest(text_KD: Tensor, row: int, top: int) -> list[tuple[int, float]]:
    """The rows nearest to one row, itself left out.

    Args:
        text_KD: Rows (K, D).
        row: Index of the one.
        top: How many, at most K - 1.

    Returns:
        Index and cosine, nearest first.
    """
    unit_KD = F.normalize(text_KD.float(), dim=-1)
    cosine_K = unit_KD @ unit_KD[row]
    cosine_K[row] = -2  # below every cosine
    values, rows = cosine_K.topk(min(top, len(text_KD) - 1))
    return list(zip(rows.tolist(), values.tolist(), strict=True))


def near_duplicates(text_KD: Tensor, cosine: float) -> list[tuple[int, int, float]]:
    """Pairs of rows with at least this cosine, the closest first; memory grows with K, not with its square.

    Args:
        text_KD: Rows (K, D).
        cosine: Smallest cosine of a pair.

    Returns:
        Both indices, the smaller first, and the cosine.
    """
    unit_KD = F.normalize(text_KD.float(), dim=-1)
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(unit_KD), ROWS_AT_ONCE):
        cosine_RK = unit_KD[start : start + ROWS_AT_ONCE] @ unit_KD.T
        firsts, seconds = (cosine_RK >= cosine).nonzero(as_tuple=True)
        later = seconds > firsts + start
        firsts, seconds = firsts[later], seconds[later]
        values = cosine_RK[firsts, seconds]
        pairs += zip((firsts + start).tolist(), seconds.tolist(), values.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: -pair[2])
