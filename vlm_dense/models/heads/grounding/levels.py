"""A pyramid as one list of cells, and back.

Shapes: B pictures, C channels, h x w cells of a level, N cells of all levels, row after row, finest level first.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def flatten_levels(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C, h, w) as (B, N, C)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)


def split_levels(cells_BNC: Tensor, sizes: Sequence[torch.Size]) -> list[Tensor]:
    """Cells (B, N, C) as views (B, C, h, w), one per size (h, w)."""
    levels = cells_BNC.split([size.numel() for size in sizes], dim=1)
    return [level.transpose(1, 2).unflatten(2, size) for level, size in zip(levels, sizes, strict=True)]
