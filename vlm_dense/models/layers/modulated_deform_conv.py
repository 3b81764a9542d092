"""Modulated deformable convolution that is quick on CPUs too.

Shapes: B images, C channels in, O channels out, H W pixels in, h w pixels out, J taps of the kernel, R rows read.

Source: arXiv:1811.11168, Eq. (1): every tap reads the picture at its place plus an offset, bilinearly and with zeros
outside, and multiplies what it reads by a mask.
"""

import torch
from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2d as MmcvModulatedDeformConv2d
from torch import Tensor
from torch.nn import functional

from vlm_dense.compat.ops.deform_conv import read_in_output_strides

# A bag over all taps of channels that went through the weights reads least where the output is not smaller than the
# input; where it is, multiplying the whole input costs more than it saves.
PROJECT_FIRST_UP_TO = 2.0  # input pixels per output pixel


class ModulatedDeformConv2d(MmcvModulatedDeformConv2d):
    """mmcv's layer, same weights and results; on CPUs two to four times as fast as torchvision's kernel.

    Offsets and masks may be larger than the output: they are then read as mmcv's own kernel reads them, see
    `vlm_dense.compat.ops.deform_conv.read_in_output_strides`. Grouped convolutions, other precisions than
    float32 and other devices go to mmcv's kernel.

    Args:
        args: mmcv's arguments.
    """

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: Pictures (B, C, H, W).
            offset: (B, 2J, h, w) pairs of row and column in pixels of the input.
            mask: (B, J, h, w) factors.

        Returns:
            (B, O, h, w).
        """
        is_grouped = self.groups > 1 or self.deform_groups > 1
        is_full = x.device.type == 'cpu' and x.dtype == torch.float32 and not torch.is_autocast_enabled('cpu')
        if is_grouped or not is_full:
            return super().forward(x, offset, mask)
        out_hw = torch.Size(self._output_length(length, axis) for axis, length in enumerate(x.shape[2:]))
        offset, mask = read_in_output_strides(offset, out_hw), read_in_output_strides(mask, out_hw)
        row_BPJ4, factor_BPJ4 = self._corners(x.shape, offset, mask)
        if x[0, 0].numel() <= PROJECT_FIRST_UP_TO * out_hw.numel():
            out_BPO = self._project_then_read(x, row_BPJ4, factor_BPJ4)
        else:
            out_BPO = self._read_then_project(x, row_BPJ4, factor_BPJ4)
        return out_BPO.transpose(1, 2).reshape(len(x), -1, *out_hw)

    def _output_length(self, length: int, axis: int) -> int:
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
        return (length + 2 * self.padding[axis] - reach - 1) // self.stride[axis] + 1

    def _corners(self, shape: torch.Size, offset: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The four pixels around each place that is read, as rows of all pixels of the batch, and their factors.

        Returns:
            Two tensors (B, P, J, 4), P = h * w.
        """
        rows_J, columns_J = self._taps(offset)
        pair_BJ2hw = offset.unflatten(1, (-1, 2))
        y_BJhw = pair_BJ2hw[:, :, 0] + rows_J + self._places(offset, 0)[:, None]
        x_BJhw = pair_BJ2hw[:, :, 1] + columns_J + self._places(offset, 1)
        height, width = shape[2:]
        rows, factors = [], []
        for y_row, y_factor in _two_pixels(y_BJhw, height):
            for x_row, x_factor in _two_pixels(x_BJhw, width):
                rows.append(y_row * width + x_row)
                factors.append(y_factor * x_factor * mask)
        first_B = torch.arange(shape[0], device=offset.device).view(-1, 1, 1, 1, 1) * (height * width)
        row_BJhw4 = torch.stack(rows, dim=-1) + first_B
        factor_BJhw4 = torch.stack(factors, dim=-1)
        return row_BJhw4.permute(0, 2, 3, 1, 4).flatten(1, 2), factor_BJhw4.permute(0, 2, 3, 1, 4).flatten(1, 2)

    def _taps(self, like: Tensor) -> tuple[Tensor, Tensor]:
        height, width = self.kernel_size
        rows_J = torch.arange(height).repeat_interleave(width) * self.dilation[0] - self.padding[0]
        columns_J = torch.arange(width).repeat(height) * self.dilation[1] - self.padding[1]
        return rows_J.to(like).view(-1, 1, 1), columns_J.to(like).view(-1, 1, 1)

    def _places(self, like: Tensor, axis: int) -> Tensor:
        return torch.arange(like.shape[2 + axis]).to(like) * self.stride[axis]

    def _project_then_read(self, x: Tensor, row_BPJ4: Tensor, factor_BPJ4: Tensor) -> Tensor:
        """Multiply every pixel by the weights of every tap, then add up one bag of corners per output pixel."""
        taps = row_BPJ4.shape[2]
        weight_RC = self.weight.permute(2, 3, 0, 1).flatten(0, 2)
        table_RO = functional.linear(x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]), weight_RC)
        row_BPJ4 = row_BPJ4 * taps + torch.arange(taps, device=x.device)[:, None]
        out_BPO = _bags(table_RO.view(-1, len(self.weight)), row_BPJ4.flatten(2), factor_BPJ4.flatten(2))
        return out_BPO if self.bias is None else out_BPO + self.bias

    def _read_then_project(self, x: Tensor, row_BPJ4: Tensor, factor_BPJ4: Tensor) -> Tensor:
        """Add up the corners of every tap, then multiply by the weights."""
        weight_OR = self.weight.permute(0, 2, 3, 1).flatten(1)
        read_BPJC = _bags(x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]), row_BPJ4, factor_BPJ4)
        return functional.linear(read_BPJC.flatten(2), weight_OR, self.bias)


def _two_pixels(place: Tensor, length: int) -> list[tuple[Tensor, Tensor]]:
    """Indices and factors of the pixels before and after each place on one axis; factor 0 outside the picture."""
    before = place.floor()
    share = place - before
    found = []
    for pixel, factor in ((before, 1 - share), (before + 1, share)):
        is_inside = (pixel >= 0) & (pixel <= length - 1)
        found.append((pixel.clamp(0, length - 1).long(), factor * is_inside))
    return found


def _bags(table_RC: Tensor, row: Tensor, factor: Tensor) -> Tensor:
    """Weighted sums over the last axis of rows of a table: (..., n) indices to (..., C)."""
    shape = row.shape[:-1]
    summed = functional.embedding_bag(
        row.reshape(-1, row.shape[-1]), table_RC, mode='sum', per_sample_weights=factor.reshape(-1, row.shape[-1])
    )
    return summed.view(*shape, -1)
