import numpy as np
import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

import vlm_dense  # noqa: F401

SHAPES = [(3, 4), (2, 2)]


def inputs(device):
    num_values = sum(height * width for height, width in SHAPES)
    shapes = torch.tensor(SHAPES, device=device)
    starts = torch.tensor([0, 12], device=device)
    value = torch.randn(2, num_values, 2, 3).to(device, torch.float64).requires_grad_()
    # Some points lie outside; none on a cell's centre or border, where the slope jumps.
    places = torch.rand(2, 5, 2, 2, 3, 2).to(device, torch.float64).mul(1.4).sub(0.2).requires_grad_()
    weights = torch.rand(2, 5, 2, 2, 3).to(device, torch.float64).requires_grad_()
    return value, shapes, starts, places, weights


def attention_loop(value, places, weights):
    batch, num_queries, num_heads, num_levels, num_points, _ = places.shape
    output = np.zeros((batch, num_queries, num_heads, value.shape[-1]))
    for b, q, m, level, p in np.ndindex(batch, num_queries, num_heads, num_levels, num_points):
        height, width = SHAPES[level]
        start = sum(h * w for h, w in SHAPES[:level])
        x, y = places[b, q, m, level, p] * (width, height) - 0.5
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, m, level, p]
                    output[b, q, m] += share * value[b, start + row * width + column, m]
    return output.reshape(batch, num_queries, -1)


def test_equals_loop(device):
    value, shapes, starts, places, weights = inputs(device)
    output = MultiScaleDeformableAttnFunction.apply(value, shapes, starts, places, weights, 64)
    expected = attention_loop(*(tensor.detach().cpu().numpy() for tensor in (value, places, weights)))
    np.testing.assert_allclose(output.detach().cpu(), expected, atol=1e-10)


def test_gradient(device):
    value, shapes, starts, places, weights = inputs(device)

    def attend(value, places, weights):
        return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, places, weights, 64)

    assert torch.autograd.gradcheck(attend, (value, places, weights))


@pytest.mark.parametrize('num_queries', [1, 16])
def test_module_runs_forward_and_backward(device, num_queries):
    module = MultiScaleDeformableAttention(8, num_heads=2, num_levels=2, num_points=3, batch_first=True).to(device)
    module.init_weights()
    query, value = torch.randn(2, num_queries, 8, device=device), torch.randn(2, 16, 8, device=device)
    output = module(
        query,
        value=value,
        reference_points=torch.rand(2, num_queries, 2, 2, device=device),
        spatial_shapes=torch.tensor(SHAPES, device=device),
        level_start_index=torch.tensor([0, 12], device=device),
    )
    assert output.shape == query.shape
    output.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
