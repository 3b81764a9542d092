"""Batches whose shape never depends on the company that a text comes in.

Matrix products give a row the same bits wherever it stands in a batch of one shape, and other bits in another shape:
kernels are chosen by shape. So the length of a text alone decides the shape that it is computed in.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LENGTH_STEP = 8


def bucket_length(count: int, limit: int) -> int:
    """The padded length of a text of ``count`` tokens: a multiple of `LENGTH_STEP`, at most ``limit``."""
    return min(-(-count // LENGTH_STEP) * LENGTH_STEP, limit)


def rows_in_fixed_batches(
    lengths: Sequence[int], run: Callable[[list[int], int], Tensor], chunk_size: int, width: int
) -> Tensor:
    """Compute one row per item, in batches of exactly ``chunk_size`` items of one length.

    Args:
        lengths: Padded length of each of N items.
        run: From ``chunk_size`` item numbers and their length to as many rows. A short batch is filled up with
            repetitions of its last item; gradients flow.
        chunk_size: Items per batch.
        width: Width D, for the result of no items.

    Returns:
        (N, D), in the order of the items.
    """
    items_of: dict[int, list[int]] = {}
    for item, length in enumerate(lengths):
        items_of.setdefault(length, []).append(item)
    parts: list[Tensor] = []
    order: list[int] = []
    for length, items in sorted(items_of.items()):
        for start in range(0, len(items), chunk_size):
            chunk = items[start : start + chunk_size]
            parts.append(run(chunk + chunk[-1:] * (chunk_size - len(chunk)), length)[: len(chunk)])
            order.extend(chunk)
    if not parts:
        return torch.empty(0, width)
    return torch.cat(parts)[torch.tensor(order).argsort().to(parts[0].device)]
