"""The precision that losses are taken in."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def wide_type(values: Tensor) -> torch.dtype:
    """float32, or the values' own type where that is wider."""
    return torch.promote_types(values.dtype, torch.float32)


def widened(values: Tensor) -> Tensor:
    """The values in their `wide_type`, any shape."""
    return values.to(wide_type(values))


def unit_rows(rows: Tensor) -> Tensor:
    """Rows (..., D) of unit length, in their `wide_type`."""
    return normalize(widened(rows), dim=-1)
