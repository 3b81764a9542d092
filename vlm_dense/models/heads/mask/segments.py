"""Masks without names."""

from typing import NamedTuple

from torch import Tensor


class Segments(NamedTuple):
    """What a mask head finds in B pictures, before any word is looked at.

    Args:
        embed_BND: One embedding per mask, in the space of the words; its length means nothing.
        mask_BNhw: Logits of N masks per picture on the head's grid, a fourth of the picture or so.
    """

    embed_BND: Tensor
    mask_BNhw: Tensor
