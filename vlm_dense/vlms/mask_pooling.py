"""Maps averaged inside masks."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.errors import ConfigError, DataError

MaskKind = Literal['hard', 'soft']
MASK_KINDS: tuple[str, ...] = ('hard', 'soft')


def pool_masks(map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind = 'hard') -> tuple[Tensor, Tensor]:
    """The mean of a map inside each mask, sum(w x) / sum(w) over the cells.

    'hard' is the pooling of FC-CLIP (arXiv:2308.02487), 'soft' that of OpenSeg (arXiv:2112.12143). Over
    `ImageTower.embed_dense` this reads regions with any dense read-out; scale the means to unit length then.

    Args:
        map_BChw: Any map.
        mask_BNHW: As in `mask_weights`.
        kind: As in `mask_weights`.

    Returns:
        Means (B, N, C), and flags (B, N) of empty masks, whose mean is that of the whole map.

    Raises:
        ConfigError: If ``kind`` is neither of its two values.
        DataError: If maps and masks differ in number.
    """
    weight_BNhw, empty_BN = mask_weights(mask_BNHW, map_BChw, kind)
    return weighted_means(map_BChw, weight_BNhw), empty_BN


def mask_weights(mask_BNHW: Tensor, map_BChw: Tensor, kind: MaskKind = 'hard') -> tuple[Tensor, Tensor]:
    """Masks as weights of the cells of a map.

    Args:
        mask_BNHW: Logits, of which a region's are above 0; or booleans, which stand for how much of a cell is inside.
            Any height and width over the same field as the map, resized bilinearly to it.
        map_BChw: The map.
        kind: 'hard' weighs cells 0 or 1: logits above 0, coverage above a half. 'soft' weighs them with the sigmoid
            of their logits, or with their coverage.

    Returns:
        Weights (B, N, h, w) in the map's dtype, and flags (B, N) of masks without any weight, which get 1 everywhere.

    Raises:
        ConfigError: If ``kind`` is neither of its two values.
        DataError: If maps and masks differ in number.
    """
    if kind not in MASK_KINDS:
        raise ConfigError(f"kind={kind!r} of mask pooling: write 'hard' or 'soft'.")
    if len(mask_BNHW) != len(map_BChw):
        raise DataError(f'{len(map_BChw)} maps came with the masks of {len(mask_BNHW)} pictures. Give masks for each.')
    values_BNhw = resize_masks(mask_BNHW, map_BChw.shape[2:])
    if kind == 'hard':
        weight_BNhw = values_BNhw > (0 if mask_BNHW.is_floating_point() else 0.5)
    else:
        weight_BNhw = values_BNhw.sigmoid() if mask_BNHW.is_floating_point() else values_BNhw
    empty_BN = ~(weight_BNhw > 0).flatten(2).any(dim=2)
    weight_BNhw = weight_BNhw.to(map_BChw.dtype).masked_fill(empty_BN[..., None, None], 1)
    return weight_BNhw, empty_BN


def weighted_means(map_BChw: Tensor, weight_BNhw: Tensor) -> Tensor:
    """sum(w x) / sum(w) over the cells, (B, N, C); a mask without any weight has no mean."""
    weight_BNL = weight_BNhw.flatten(2)
    share_BNL = weight_BNL / weight_BNL.sum(dim=2, keepdim=True)
    return share_BNL @ map_BChw.flatten(2).transpose(1, 2)


def resize_masks(mask_BNHW: Tensor, size: Sequence[int]) -> Tensor:
    """Logits, probabilities, or booleans as 0 and 1, bilinearly to (B, N, h, w), corners not aligned."""
    values_BNHW = mask_BNHW if mask_BNHW.is_floating_point() else mask_BNHW.to(torch.float32)
    if tuple(values_BNHW.shape[2:]) == tuple(size) or not values_BNHW.shape[1]:
        return values_BNHW.reshape(*values_BNHW.shape[:2], *size)
    return F.interpolate(values_BNHW, tuple(size), mode='bilinear', align_corners=False)
