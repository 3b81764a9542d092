"""RoIAlign, as ``mmcv._ext`` calls it. Source: Mask R-CNN, arXiv:1703.06870, Sec. 3.

Average pooling is torchvision's kernel. Maximum pooling takes the same sampling points one by one: a bin
with S x S points is S x S bins with one point each, so torchvision's kernel yields the points and the
maximum is taken over them.
"""

import torch
import torchvision
from torch import Tensor
from torch.nn.functional import max_pool2d

from vlm_dense.compat.ops.precision import to_compute

POOL_MAX = 0
NO_POINT = -1.0


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool (B, C, H, W) features inside (N, 5) rois into ``output`` (N, C, h, w).

    Args:
        features: (B, C, H, W).
        rois: (N, 5), image index and xyxy in pixels of the image.
        output: Filled in place.
        argmax_y: With maximum pooling filled in place, (N, C, h, w): row of the winning point in cells.
        argmax_x: As ``argmax_y``, the column.
        aligned_height: h.
        aligned_width: w.
        spatial_scale: Cells per pixel.
        sampling_ratio: Points per bin and side; 0 takes one point per cell.
        pool_mode: 0 maximum, 1 average.
        aligned: Cell centres lie at half positions.

    Note:
        A bin without any point (an empty roi, adaptive sampling) yields 0 in both modes; mmcv's maximum
        yields a large negative number there.
    """
    images, boxes = to_compute(features, features, rois)
    size = (aligned_height, aligned_width)
    if pool_mode != POOL_MAX:
        output.copy_(torchvision.ops.roi_align(images, boxes, size, spatial_scale, sampling_ratio, aligned))
        return
    output.zero_()
    argmax_y.fill_(NO_POINT)
    argmax_x.fill_(NO_POINT)
    start, bins = _geometry(boxes, size, spatial_scale, aligned)
    num_points = bins.ceil().long() if sampling_ratio <= 0 else torch.full_like(bins, sampling_ratio).long()
    for points in num_points.unique(dim=0).tolist():
        if min(points) == 0:
            continue
        rows = (num_points == num_points.new_tensor(points)).all(dim=1).nonzero().squeeze(1)
        best, y, x = _pool_points(images, boxes[rows], size, points, spatial_scale, aligned)
        output[rows] = best.to(output.dtype)
        argmax_y[rows] = _position(y, start[rows, 0], bins[rows, 0] / points[0]).to(argmax_y.dtype)
        argmax_x[rows] = _position(x, start[rows, 1], bins[rows, 1] / points[1]).to(argmax_x.dtype)


def _geometry(rois: Tensor, size: tuple[int, int], scale: float, aligned: bool) -> tuple[Tensor, Tensor]:
    """Upper left corners (N, 2) and bin sizes (N, 2), rows before columns, in cells."""
    corners = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    start, extent = corners[:, [1, 0]], corners[:, [3, 2]] - corners[:, [1, 0]]
    if not aligned:
        extent = extent.clamp(min=1)
    return start, extent / extent.new_tensor(size)


def _pool_points(
    images: Tensor, rois: Tensor, size: tuple[int, int], points: list[int], scale: float, aligned: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The best point of each bin, with its row and column in the grid of all points of its roi."""
    grid = (size[0] * points[0], size[1] * points[1])
    values = torchvision.ops.roi_align(images, rois, grid, scale, 1, aligned)
    best, index = max_pool2d(values, points, points, return_indices=True)
    return best, index // grid[1], index % grid[1]


def _position(index: Tensor, start: Tensor, step: Tensor) -> Tensor:
    return start[:, None, None, None] + (index + 0.5) * step[:, None, None, None]


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the features, (B, C, H, W), into ``grad_input``."""
    grad, boxes = to_compute(grad_output, grad_output, rois)
    if pool_mode != POOL_MAX:
        size = (aligned_height, aligned_width)
        grad_features = torch.ops.torchvision._roi_align_backward(
            grad, boxes, spatial_scale, *size, *grad_input.shape, sampling_ratio, aligned
        )
    else:
        images = boxes[:, 0].long()
        grad_features = _scatter(grad, images, argmax_y.to(grad), argmax_x.to(grad), grad_input.shape)
    grad_input.copy_(grad_features)


def _scatter(grad: Tensor, images: Tensor, y: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
    """Give each gradient to the four cells around its point, with bilinear weights."""
    num_channels, height, width = shape[1:]
    counts = (y != NO_POINT) & (y >= -1) & (y <= height) & (x != NO_POINT) & (x >= -1) & (x <= width)
    grad = grad * counts
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor(), x.floor()
    channels = torch.arange(num_channels, device=grad.device)[None, :, None, None]
    planes = images[:, None, None, None] * num_channels + channels
    flat = grad.new_zeros(shape.numel())
    for row, row_weight in ((top, 1 - (y - top)), ((top + 1).clamp(max=height - 1), y - top)):
        for column, column_weight in ((left, 1 - (x - left)), ((left + 1).clamp(max=width - 1), x - left)):
            cells = (planes * height + row.long()) * width + column.long()
            flat.index_add_(0, cells.flatten(), (grad * row_weight * column_weight).flatten())
    return flat.view(shape)
