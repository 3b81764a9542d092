import numpy as np
import pytest
import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2d, ModulatedDeformConv2dPack, deform_conv2d
from mmcv.ops import modulated_deform_conv2d as masked_conv2d

import vlm_dense  # noqa: F401

# stride, padding, dilation, groups, groups of offsets
GEOMETRIES = [(1, 1, 1, 1, 1), (2, 1, 1, 2, 1), (1, 2, 2, 1, 2), ((2, 1), (1, 0), (1, 2), 2, 2)]
KERNEL = (3, 2)
ROUNDING = 1e-10  # A GPU adds up gradients in any order.


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def out_size(size, geometry):
    stride, padding, dilation = (pair(value) for value in geometry[:3])
    return tuple(
        (size[i] + 2 * padding[i] - dilation[i] * (KERNEL[i] - 1) - 1) // stride[i] + 1 for i in range(len(size))
    )


def inputs(geometry, device='cpu', batch=2, size=(5, 6), field_size=None):
    """Images, offsets, mask, weight, bias in double precision; offsets keep off the grid's kinks."""
    groups, offset_groups = geometry[3:]
    num = offset_groups * KERNEL[0] * KERNEL[1]
    field = field_size or out_size(size, geometry)
    images = torch.randn(batch, 4, *size)
    offset = torch.randint(-2, 2, (batch, 2 * num, *field)) + torch.empty(batch, 2 * num, *field).uniform_(0.1, 0.9)
    mask = torch.rand(batch, num, *field)
    weight, bias = torch.randn(6, 4 // groups, *KERNEL), torch.randn(6)
    tensors = (images, offset, mask, weight, bias)
    return [tensor.to(device, torch.float64).requires_grad_() for tensor in tensors]


def bilinear_loop(plane, y, x):
    total, (height, width) = 0.0, plane.shape
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += plane[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def conv_loop(images, offset, mask, weight, bias, geometry):
    """The definition; offsets and mask are read from flat memory with the strides of the OUTPUT."""
    (sy, sx), (py, px), (dy, dx) = (pair(value) for value in geometry[:3])
    groups, offset_groups = geometry[3:]
    out_hw = out_size(images.shape[2:], geometry)
    taps = KERNEL[0] * KERNEL[1]
    per_group, per_offset_group = images.shape[1] // groups, images.shape[1] // offset_groups
    output = np.zeros((len(images), len(weight), *out_hw)) + bias[:, None, None]
    for b, c, i, j in np.ndindex(*output.shape):
        first = c // (len(weight) // groups) * per_group
        for inner, u, v in np.ndindex(per_group, *KERNEL):
            tap = (first + inner) // per_offset_group * taps + u * KERNEL[1] + v

            def read(field, row, b=b, i=i, j=j):
                return field[b].reshape(-1)[(row * out_hw[0] + i) * out_hw[1] + j]

            y = i * sy - py + u * dy + read(offset, 2 * tap)
            x = j * sx - px + v * dx + read(offset, 2 * tap + 1)
            factor = 1.0 if mask is None else read(mask, tap)
            output[b, c, i, j] += weight[c, inner, u, v] * factor * bilinear_loop(images[b, first + inner], y, x)
    return output


def arrays(*tensors):
    return [tensor.detach().cpu().numpy() for tensor in tensors]


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v1_equals_loop(device, geometry):
    images, offset, _, weight, _ = inputs(geometry, device)
    output = deform_conv2d(images, offset, weight, *geometry)
    array_images, array_offset, array_weight = arrays(images, offset, weight)
    expected = conv_loop(array_images, array_offset, None, array_weight, np.zeros(6), geometry)
    np.testing.assert_allclose(output.detach().cpu(), expected, atol=1e-9)


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v1_gradient(device, geometry):
    images, offset, _, weight, _ = inputs(geometry, device, size=(4, 5))
    assert torch.autograd.gradcheck(
        lambda *tensors: deform_conv2d(*tensors, *geometry), (images, offset, weight), nondet_tol=ROUNDING
    )


@pytest.mark.parametrize('geometry', GEOMETRIES)
@pytest.mark.parametrize('with_bias', [True, False])
def test_v2_equals_loop(device, geometry, with_bias):
    images, offset, mask, weight, bias = inputs(geometry, device)
    output = masked_conv2d(images, offset, mask, weight, bias if with_bias else None, *geometry)
    expected = conv_loop(*arrays(images, offset, mask, weight, bias if with_bias else bias * 0), geometry)
    np.testing.assert_allclose(output.detach().cpu(), expected, atol=1e-9)


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v2_gradient(device, geometry):
    tensors = inputs(geometry, device, size=(4, 5))
    assert torch.autograd.gradcheck(lambda *args: masked_conv2d(*args, *geometry), tensors, nondet_tol=ROUNDING)


@pytest.mark.parametrize('geometry', [(1, 1, 1, 1, 1), (1, 1, 1, 2, 2)])
def test_v2_reads_a_larger_field_as_the_beginning_of_each_sample(device, geometry):
    """What mmdet's GLIP head relies on: offsets of one pyramid level with the pictures of the next smaller."""
    tensors = inputs(geometry, device, size=(3, 4), field_size=(6, 7))
    output = masked_conv2d(*tensors, *geometry)
    np.testing.assert_allclose(output.detach().cpu(), conv_loop(*arrays(*tensors), geometry), atol=1e-9)


def test_v2_gradient_of_a_larger_field_stays_in_what_was_read(device):
    geometry = (1, 1, 1, 1, 2)
    tensors = inputs(geometry, device, size=(3, 4), field_size=(6, 7))
    assert torch.autograd.gradcheck(lambda *args: masked_conv2d(*args, *geometry), tensors, nondet_tol=ROUNDING)
    masked_conv2d(*tensors, *geometry).sum().backward()
    num_read = np.prod(out_size((3, 4), geometry))
    for field in tensors[1:3]:
        grad = field.grad.flatten(1)
        read = int(field.shape[1] * num_read)
        assert grad[:, :read].count_nonzero() > 0.5 * grad[:, :read].numel()
        assert not grad[:, read:].any()


def test_v2_takes_slices_of_one_tensor_as_the_glip_head_passes_them(device):
    """Offset and mask are channel slices, so samples are not contiguous with each other."""
    geometry = (1, 1, 1, 1, 1)
    images, _, _, weight, bias = inputs(geometry, device, size=(3, 4))
    fields = torch.randn(2, 18, 6, 7, device=device, dtype=torch.float64)
    offset, mask = fields[:, :12], fields[:, 12:].sigmoid()
    output = masked_conv2d(images, offset, mask, weight, bias, *geometry)
    expected = conv_loop(*arrays(images, offset, mask, weight, bias), geometry)
    np.testing.assert_allclose(output.detach().cpu(), expected, atol=1e-9)


def test_a_field_too_small_for_the_output_is_refused():
    tensors = inputs((1, 1, 1, 1, 1), size=(5, 6), field_size=(2, 2))
    with pytest.raises(RuntimeError, match='offset'):
        masked_conv2d(*tensors, 1, 1)


def test_modules_without_offsets_are_ordinary_convolutions(device):
    images = torch.randn(2, 4, 6, 6, device=device)
    v1 = DeformConv2dPack(4, 6, 3, padding=1).to(device)
    torch.testing.assert_close(v1(images), torch.conv2d(images, v1.weight, padding=1), atol=1e-4, rtol=1e-4)
    v2 = ModulatedDeformConv2dPack(4, 6, 3, padding=1).to(device)
    plain = torch.conv2d(images, v2.weight, padding=1) / 2 + v2.bias[:, None, None]
    torch.testing.assert_close(v2(images), plain, atol=1e-4, rtol=1e-4)
    (v1(images).sum() + v2(images).sum()).backward()
    assert all(parameter.grad is not None for parameter in [*v1.parameters(), *v2.parameters()])


def test_half_precision_offsets_as_under_amp(device):
    conv = ModulatedDeformConv2d(4, 6, 3, padding=1).to(device)
    images = torch.randn(2, 4, 5, 5, device=device)
    offset, mask = torch.randn(2, 18, 5, 5, device=device), torch.rand(2, 9, 5, 5, device=device)
    exact = conv(images, offset, mask)
    halved = conv(images, offset.bfloat16().requires_grad_(), mask)
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), exact, atol=0.1, rtol=0.1)
    halved.float().sum().backward()
    assert conv.weight.grad.isfinite().all()


def test_glip_head_of_mmdet_runs_over_a_pyramid(device):
    """Its blocks hand the offsets of one level to the next smaller one; torchvision alone refuses that."""
    from mmdet.models.dense_heads.atss_vlfusion_head import Conv3x3Norm, DyConv

    def conv(in_channels, out_channels, stride):
        return Conv3x3Norm(in_channels, out_channels, stride, use_dcn=True)

    block = DyConv(conv, 8, 8, use_dyfuse=True, use_dyrelu=True, use_dcn=True).to(device)
    pyramid = [torch.randn(2, 8, size, size + 1, device=device) for size in (12, 6, 3)]
    outputs = block({'visual': pyramid, 'lang': None})['visual']
    assert [output.shape for output in outputs] == [features.shape for features in pyramid]
    sum(output.square().sum() for output in outputs).backward()
    assert block.offset.weight.grad.abs().sum() > 0
