"""A few rows of what bilinear interpolation makes of maps, without the others.

Shapes: N maps, h w their size, W width wanted, r rows wanted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class RowWeights(NamedTuple):
    """Row i wanted is ``(1 - share) * low + share * high`` of the rows there are.

    They stay with the processor, where reading them waits for no GPU.

    Args:
        low_r: Indices.
        high_r: Indices.
        share_r: From 0 to 1.
    """

    low_r: Tensor
    high_r: Tensor
    share_r: Tensor

    @property
    def span(self) -> slice:
        """All rows that are read."""
        return slice(int(self.low_r[0]), int(self.high_r[-1]) + 1)


def row_weights(rows: slice, there: int, wanted: int, dtype: torch.dtype) -> RowWeights:
    """Which rows of ``there`` the given ones of ``wanted`` are made of, as ``interpolate`` with corners not aligned.

    Args:
        rows: At least one of ``wanted``, with its start and stop.
        there: How many rows the maps have.
        wanted: How many they are to have.
        dtype: Of the maps.
    """
    steps_r = torch.arange(rows.start, rows.stop, dtype=dtype if dtype == torch.float64 else torch.float32)
    centre_r = ((steps_r + 0.5) * (there / wanted) - 0.5).clamp(min=0)
    low_r = centre_r.long().clamp(max=there - 1)
    return RowWeights(low_r, (low_r + 1).clamp(max=there - 1), (centre_r - low_r).to(dtype))


def resize_span(span_Nhw: Tensor, start: int, weights: RowWeights, width: int) -> Tensor:
    """Rows wanted, from those that `RowWeights.span` names.

    Args:
        span_Nhw: Rows ``start``, ``start + 1``, ... of the maps, all that are read.
        start: First of them.
        weights: Of the rows wanted.
        width: W.

    Returns:
        (N, r, W).
    """
    low_r, high_r, share_r = weights
    place_2r = (torch.stack([low_r, high_r]) - start).to(span_Nhw.device)
    low_Nrw = span_Nhw[:, place_2r[0]]
    if bool((share_r != 0).any()):
        low_Nrw = torch.lerp(low_Nrw, span_Nhw[:, place_2r[1]], share_r[:, None].to(span_Nhw.device))
    if low_Nrw.shape[2] == width:
        return low_Nrw
    size = (low_Nrw.shape[1], width)
    return functional.interpolate(low_Nrw[None], size, mode='bilinear', align_corners=False)[0]


def resize_rows_of(maps_Nhw: Tensor, size: Sequence[int], rows: slice) -> Tensor:
    """Some rows of maps that are resized: (N, r, W).

    Args:
        maps_Nhw: Whole.
        size: Height and width to resize to.
        rows: Wanted of this height, with start and stop.
    """
    return resize_span(maps_Nhw, 0, row_weights(rows, maps_Nhw.shape[1], size[0], maps_Nhw.dtype), size[1])
