"""RoIPool, as ``mmcv._ext`` calls it. Source: Fast R-CNN, arXiv:1504.08083, Sec. 2.1.

mmcv rounds the bins, torchvision rounds the roi, so the two pool different cells; only the backward kernel,
which follows stored winners, is shared.
"""

import torch
from torch import Tensor

from vlm_dense.compat.ops.precision import to_compute

NO_CELL = -1


def roi_pool_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the maximum of each bin into ``output`` and the flat cell that won into ``argmax``.

    Args:
        features: (B, C, H, W).
        rois: (N, 5), image index and xyxy in pixels, the last pixel included.
        output: (N, C, h, w), filled in place; 0 where a bin is empty.
        argmax: (N, C, h, w) int32, filled in place; -1 where a bin is empty.
        pooled_height: h.
        pooled_width: w.
        spatial_scale: Cells per pixel.
    """
    images, boxes = to_compute(features, features, rois)
    height, width = images.shape[2:]
    top, bottom = _bins(boxes[:, 2], boxes[:, 4], spatial_scale, pooled_height, height)
    left, right = _bins(boxes[:, 1], boxes[:, 3], spatial_scale, pooled_width, width)
    best = images.new_full(output.shape, -torch.inf)
    winner = torch.full_like(argmax, NO_CELL)
    owner = boxes[:, 0].long()[:, None, None]
    # One step per cell of the largest bin, in reading order: the first of equal cells wins.
    for step_y in range(_largest(bottom - top)):
        for step_x in range(_largest(right - left)):
            y, x = (top + step_y)[:, :, None], (left + step_x)[:, None, :]
            inside = (y < bottom[:, :, None]) & (x < right[:, None, :])
            y, x = y.clamp(max=height - 1), x.clamp(max=width - 1)
            values = images[owner, :, y, x].permute(0, 3, 1, 2)
            better = inside[:, None] & (values > best)
            best = torch.where(better, values, best)
            winner = torch.where(better, (y * width + x)[:, None].to(winner.dtype), winner)
    output.copy_(torch.where(winner == NO_CELL, torch.zeros_like(best), best))
    argmax.copy_(winner)


def _bins(first: Tensor, last: Tensor, scale: float, num_bins: int, limit: int) -> tuple[Tensor, Tensor]:
    """First cell and cell after the last of every bin, each (N, num_bins) int64."""
    start, end = first * scale, (last + 1) * scale
    size = ((end - start) / num_bins)[:, None]
    steps = torch.arange(num_bins, device=first.device)
    low = torch.floor(steps * size + start[:, None]).long().clamp(0, limit)
    high = torch.ceil((steps + 1) * size + start[:, None]).long().clamp(0, limit)
    return low, torch.where(size > 0, high, low)


def _largest(lengths: Tensor) -> int:
    return int(lengths.max()) if lengths.numel() else 0


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the gradient of the features, (B, C, H, W), into ``grad_input``."""
    grad, boxes = to_compute(grad_output, grad_output, rois)
    grad_input.copy_(
        torch.ops.torchvision._roi_pool_backward(
            grad, boxes, argmax, spatial_scale, pooled_height, pooled_width, *grad_input.shape
        )
    )
