"""Multi-scale deformable attention, as ``mmcv._ext`` calls it. Source: arXiv:2010.04159, eq. 3.

mmcv's own bilinear-sampling form of the operation is public and differentiable; it runs on any device.
"""

from typing import Any

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Sample and sum the values around each query's points.

    Args:
        value: (B, L, M, D) values of all levels one after the other, M heads.
        spatial_shapes: (S, 2) int64, height and width of each of the S levels.
        level_start_index: (S,), where each level begins; levels lie one after the other, so not needed.
        sampling_locations: (B, Q, M, S, P, 2), (x, y) in 0..1 of each level.
        attention_weights: (B, Q, M, S, P).
        im2col_step: Chunk size of mmcv's kernel, not used.

    Returns:
        (B, Q, M * D).
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    # Plain integers: iterating over a CUDA tensor would wait for the device at every level.
    shapes: Any = spatial_shapes.tolist()
    return multi_scale_deformable_attn_pytorch(value, shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_locations: Tensor,
    grad_attention_weights: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of values, locations and weights in place."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (value, sampling_locations, attention_weights)]
        output = ms_deform_attn_forward(leaves[0], spatial_shapes, level_start_index, leaves[1], leaves[2], im2col_step)
    targets = (grad_value, grad_sampling_locations, grad_attention_weights)
    for target, grad in zip(targets, torch.autograd.grad(output, leaves, grad_output), strict=True):
        target.copy_(grad)
