"""Positional embeddings for grids of another shape."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal['bicubic', 'bilinear', 'bicubic_plain']
INTERPOLATIONS: tuple[str, ...] = ('bicubic', 'bilinear', 'bicubic_plain')
PLAIN = '_plain'


def resize_positions(
    positions_LC: Tensor,
    native: tuple[int, int],
    grid: tuple[int, int],
    interpolation: Interpolation,
    prefix: int = 1,
) -> Tensor:
    """Resize the embeddings of a grid of cells; those of the first tokens, which are not cells, are kept.

    Antialiased, corners not aligned, as open_clip resizes the embeddings of a checkpoint. Public code of MaskCLIP and
    its followers is not antialiased; bilinearly enlarged grids are the same either way, others differ a little. That of
    CLIPSeg (arXiv:2112.10003) is bicubic and not antialiased: 'bicubic_plain'.

    Args:
        positions_LC: (prefix + native height * native width, C), row by row.
        native: Height and width in cells that the embeddings were trained for.
        grid: Height and width in cells that are wanted.
        interpolation: 'bicubic', 'bilinear' or 'bicubic_plain', which is not antialiased.
        prefix: How many tokens stand before the cells; one, for the picture, in CLIP.

    Returns:
        (prefix + grid height * grid width, C); ``positions_LC`` itself where the grid is the native one.
    """
    if tuple(grid) == tuple(native):
        return positions_LC
    cells_1Chw = positions_LC[prefix:].T.unflatten(1, tuple(native))[None]
    resized_1Chw = F.interpolate(
        cells_1Chw,
        size=tuple(grid),
        mode=interpolation.removesuffix(PLAIN),
        antialias=not interpolation.endswith(PLAIN),
        align_corners=False,
    )
    return torch.cat([positions_LC[:prefix], resized_1Chw[0].flatten(1).T])
