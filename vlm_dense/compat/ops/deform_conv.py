"""Deformable convolutions, as ``mmcv._ext`` calls them.

Sources: v1, arXiv:1703.06211; v2 with a mask, arXiv:1811.11168. Both are torchvision's kernel; offsets are
pairs (row, column) per kernel position in both libraries.
"""

import torch
import torchvision
from torch import Tensor

from vlm_dense.compat.ops.precision import to_compute

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def deform_conv_forward(
    images: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the convolution of (B, C, H, W) images at offset positions into ``output`` (B, C', h, w).

    Args:
        images: (B, C, H, W).
        weight: (C', C / group, kH, kW).
        offset: (B, 2 * deformable_group * kH * kW, h, w), in pixels of the input.
        output: Filled in place.
        columns: Scratch of mmcv's kernel, not used.
        ones: Scratch of mmcv's kernel, not used.
        kW: Kernel width; kH its height.
        kH: See ``kW``.
        dW: Stride; dH for rows.
        dH: See ``dW``.
        padW: Zero padding; padH for rows.
        padH: See ``padW``.
        dilationW: Dilation; dilationH for rows.
        dilationH: See ``dilationW``.
        group: Groups of the convolution, read off ``weight`` by the kernel.
        deformable_group: Groups of the offsets, read off ``offset`` by the kernel.
        im2col_step: Chunk size of mmcv's kernel, not used.
    """
    image_, weight_, offset_ = to_compute(images, images, weight, offset)
    output.copy_(
        torchvision.ops.deform_conv2d(
            image_, offset_, weight_, stride=(dH, dW), padding=(padH, padW), dilation=(dilationH, dilationW)
        )
    )


def deform_conv_backward_input(
    images: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_images: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the gradients of images and offsets into ``grad_images`` and ``grad_offset``."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _backward(grad_output, images, weight, offset, None, geometry)
    grad_images.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    images: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add ``scale`` times the gradient of the weight to ``grad_weight``."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    # The gradient of the weight does not depend on the weight itself; its shape is all that is needed.
    grads = _backward(grad_output, images, torch.zeros_like(grad_weight), offset, None, geometry)
    grad_weight.add_(grads[1].to(grad_weight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    images: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the masked deformable convolution into ``output`` (B, C', h, w).

    Args:
        images: (B, C, H, W).
        weight: (C', C / group, kernel_h, kernel_w).
        bias: (C',), or empty without ``with_bias``.
        ones: Scratch of mmcv's kernel, not used.
        offset: (B, 2 * deformable_group * kernel_h * kernel_w, h, w), in pixels of the input; may be larger
            than the output, see `read_in_output_strides`.
        mask: (B, deformable_group * kernel_h * kernel_w, h, w) factors; may be larger as well.
        output: Filled in place.
        columns: Scratch of mmcv's kernel, not used.
        kernel_h: Kernel height, read off ``weight`` by the kernel; kernel_w its width.
        kernel_w: See ``kernel_h``.
        stride_h: Stride of rows; stride_w of columns.
        stride_w: See ``stride_h``.
        pad_h: Zero padding of rows; pad_w of columns.
        pad_w: See ``pad_h``.
        dilation_h: Dilation of rows; dilation_w of columns.
        dilation_w: See ``dilation_h``.
        group: Groups of the convolution, read off ``weight`` by the kernel.
        deformable_group: Groups of the offsets.
        with_bias: Add ``bias``.
    """
    out_hw = output.shape[2:]
    offset, mask = read_in_output_strides(offset, out_hw), read_in_output_strides(mask, out_hw)
    image_, weight_, offset_, mask_, bias_ = to_compute(images, images, weight, offset, mask, bias)
    output.copy_(
        torchvision.ops.deform_conv2d(
            image_,
            offset_,
            weight_,
            bias_ if with_bias else None,
            stride=(stride_h, stride_w),
            padding=(pad_h, pad_w),
            dilation=(dilation_h, dilation_w),
            mask=mask_,
        )
    )


def modulated_deform_conv_backward(
    images: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_images: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write all gradients in place; values of offset and mask that were not read get 0."""
    out_hw = grad_output.shape[2:]
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    offset, mask = read_in_output_strides(offset, out_hw), read_in_output_strides(mask, out_hw)
    grads = _backward(grad_output, images, weight, offset, mask, geometry)
    grad_images.copy_(grads[0])
    grad_weight.copy_(grads[1])
    _fill_prefix(grad_offset, grads[2])
    _fill_prefix(grad_mask, grads[3])
    if with_bias:
        grad_bias.copy_(grads[4])


def read_in_output_strides(field: Tensor, out_hw: torch.Size) -> Tensor:
    """Read a field of (B, J, h', w') as (B, J, h, w) the way mmcv's v2 kernel does.

    That kernel walks through each sample's memory with the strides of the OUTPUT. A field larger than the
    output is therefore read as the flat beginning of the sample. mmdet's GLIP head passes offsets from one
    pyramid level to the next smaller one, and the released weights were trained with what that reads.
    """
    num_values = field.shape[1] * out_hw.numel()
    flat = field.flatten(1)
    if field.shape[2:] == out_hw or flat.shape[1] < num_values:
        return field
    return flat[:, :num_values].reshape(len(field), field.shape[1], *out_hw)


def _fill_prefix(target: Tensor, grad: Tensor) -> None:
    flat = grad.new_zeros(len(target), target[0].numel())
    flat[:, : grad[0].numel()] = grad.flatten(1)
    target.copy_(flat.view(target.shape))


def _backward(
    grad_output: Tensor, images: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: tuple[int, ...]
) -> Gradients:
    """Gradients of images, weight, offset, mask and bias."""
    has_mask = mask is not None
    field = mask if mask is not None else images.new_zeros(len(images), 1)
    grad, image_, weight_, offset_, mask_ = to_compute(images, grad_output, images, weight, offset, field)
    bias = weight_.new_zeros(len(weight_))
    return torch.ops.torchvision._deform_conv2d_backward(
        grad, image_, weight_, offset_, mask_, bias, *geometry, has_mask
    )
