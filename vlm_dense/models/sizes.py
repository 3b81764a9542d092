"""Batches of pictures of different sizes, answered as if every picture came alone.

A batch is padded to one size, and what a network says near the padding, or anywhere where it attends to everything,
depends on the padding. So prediction takes the padding off again and goes through a batch size by size.
"""

from collections.abc import Iterator, Sequence

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor


def alone(image_3HW: Tensor, data_sample: BaseDataElement) -> Tensor:
    """A picture of a batch with no more padding than it would have alone.

    Args:
        image_3HW: As the batch holds it.
        data_sample: Its ``pad_shape`` is the size that the preprocessor's divisor asks for.
    """
    height, width = data_sample.metainfo.get('pad_shape', image_3HW.shape[1:])[:2]
    return image_3HW[:, :height, :width]


def by_size(pictures: Sequence[Tensor]) -> Iterator[tuple[list[int], Tensor]]:
    """Pictures of one size after the other.

    Args:
        pictures: (3, h_i, w_i) each.

    Yields:
        The places of n pictures of one size in ``pictures``, and the pictures, (n, 3, h, w).
    """
    rows_by_size: dict[tuple[int, ...], list[int]] = {}
    for row, picture_3hw in enumerate(pictures):
        rows_by_size.setdefault(tuple(picture_3hw.shape), []).append(row)
    for rows in rows_by_size.values():
        yield rows, torch.stack([pictures[row] for row in rows])
