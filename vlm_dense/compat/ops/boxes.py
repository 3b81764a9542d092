"""Overlap of boxes, as ``mmcv._ext`` calls it.

``offset`` is 1 where a box from column 3 to column 3 is one pixel wide (mmcv's old convention), else 0.
"""

import torch
from torch import Tensor

MODE_IOU = 0


def bbox_overlaps(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """Write intersection over union (or over the first box) into ``ious``.

    Args:
        boxes1: (N, 4), xyxy in pixels.
        boxes2: (M, 4), xyxy in pixels; M = N when ``aligned``.
        ious: Filled in place: (N, M), or (N,) when ``aligned``.
        mode: 0 divides by the union, anything else by the area of the first box.
        aligned: Compare row with row instead of all with all.
        offset: 0 or 1, added to widths and heights.

    Note:
        Two empty boxes overlap by 0; mmcv's kernel divides zero by zero there.
    """
    first, second = (boxes1, boxes2) if aligned else (boxes1[:, None], boxes2[None])
    ious.copy_(overlap(first, second, over_union=mode == MODE_IOU, offset=offset))


def overlap(boxes1: Tensor, boxes2: Tensor, over_union: bool = True, offset: int = 0) -> Tensor:
    """Overlaps of broadcastable (..., 4) boxes, shape (...)."""
    top_left = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    shared = (bottom_right - top_left + offset).clamp(min=0).prod(-1)
    base = area(boxes1, offset)
    if over_union:
        base = base + area(boxes2, offset) - shared
    return shared / base.clamp(min=torch.finfo(shared.dtype).tiny)


def area(boxes: Tensor, offset: int = 0) -> Tensor:
    """Areas in square pixels of (..., 4) boxes, shape (...)."""
    return (boxes[..., 2:] - boxes[..., :2] + offset).prod(-1)
