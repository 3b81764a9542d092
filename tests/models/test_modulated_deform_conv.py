"""The quick convolution against mmcv's layer, which torchvision's kernel serves here."""

import pytest
import torch
from mmcv.ops.modulated_deform_conv import ModulatedDeformConv2d as Reference

from vlm_dense.models.layers import ModulatedDeformConv2d

# Kernel, stride, padding, dilation, input size, size of offsets and mask (None: that of the output).
CASES = {
    'same size': (3, 1, 1, 1, (7, 9), None),
    'half size': (3, 2, 1, 1, (14, 18), None),
    'slightly smaller': (3, 1, 0, 1, (7, 9), None),
    'odd geometry': ((3, 2), (2, 1), (1, 0), (1, 2), (9, 8), None),
    'offsets of the level below': (3, 1, 1, 1, (4, 5), (8, 10)),
    'one pixel': (1, 1, 0, 1, (1, 1), None),
}


def pair_of_layers(kernel, stride, padding, dilation, bias):
    settings = dict(stride=stride, padding=padding, dilation=dilation, bias=bias)
    ours, reference = ModulatedDeformConv2d(4, 6, kernel, **settings), Reference(4, 6, kernel, **settings)
    for weight in reference.parameters():
        torch.nn.init.normal_(weight)
    ours.load_state_dict(reference.state_dict())
    return ours, reference


def inputs(layer, size, field):
    taps = layer.kernel_size[0] * layer.kernel_size[1]
    if field is None:
        field = [
            (length + 2 * layer.padding[i] - layer.dilation[i] * (layer.kernel_size[i] - 1) - 1) // layer.stride[i] + 1
            for i, length in enumerate(size)
        ]
    # Far enough to leave the picture on every side.
    return torch.randn(2, 4, *size), 4 * torch.randn(2, 2 * taps, *field), torch.rand(2, taps, *field)


def results(layer, tensors):
    layer.zero_grad()
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    output = layer(*tensors)
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    return [output, *(tensor.grad for tensor in (*tensors, *layer.parameters()))]


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('case', CASES)
def test_values_and_all_gradients_equal_the_kernels(case, bias):
    *geometry, size, field = CASES[case]
    ours, reference = pair_of_layers(*geometry, bias)
    tensors = inputs(ours, size, field)
    for found, expected in zip(results(ours, tensors), results(reference, tensors), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_offsets_that_leave_the_picture_read_zeros():
    ours, _ = pair_of_layers(3, 1, 1, 1, bias=True)
    images = torch.randn(1, 4, 5, 5)
    found = ours(images, torch.full((1, 18, 5, 5), 100.0), torch.ones(1, 9, 5, 5))
    torch.testing.assert_close(found, ours.bias.view(1, -1, 1, 1).expand_as(found))


def test_groups_and_other_precisions_go_to_the_kernel():
    ours, reference = ModulatedDeformConv2d(4, 6, 3, padding=1, groups=2), Reference(4, 6, 3, padding=1, groups=2)
    ours.load_state_dict(reference.state_dict())
    tensors = inputs(ours, (5, 6), None)
    assert torch.equal(ours(*tensors), reference(*tensors))
    ours, reference = (layer.double() for layer in pair_of_layers(3, 1, 1, 1, bias=True))
    tensors = [tensor.double() for tensor in tensors]
    assert torch.equal(ours(*tensors), reference(*tensors))
