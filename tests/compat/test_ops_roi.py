import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign, RoIPool, point_sample, roi_align, roi_pool

import vlm_dense  # noqa: F401

# Of both images: ordinary, reaching outside, thin, and partly left of the picture.
ROIS = [[0, 1.3, 2.1, 14.2, 11.7], [1, 8.4, 9.3, 21.0, 19.6], [1, 3.2, 0.4, 4.1, 13.9], [0, -3.1, -2.3, 5.2, 7.7]]
SCALE = 0.5


def cells(num=2, channels=2, height=7, width=8, device='cpu', dtype=torch.float64):
    """Distinct values everywhere, so that maxima do not tie and stay where they are under small changes."""
    values = torch.randperm(num * channels * height * width) / 10.0
    return values.view(num, channels, height, width).to(device=device, dtype=dtype)


def rois(device='cpu', dtype=torch.float64):
    return torch.tensor(ROIS, device=device, dtype=dtype)


def taps(position, length):
    """The two cells beside a position on one axis, with their weights."""
    position = min(max(position, 0.0), length - 1.0)
    low = int(position)
    return [(low, 1 - (position - low)), (min(low + 1, length - 1), position - low)]


def bilinear_loop(plane, y, x):
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    return sum(plane[row, column] * wy * wx for row, wy in taps(y, height) for column, wx in taps(x, width))


def roi_align_loop(features, boxes, size, scale, sampling, mode, aligned):
    output = np.zeros((len(boxes), features.shape[1], *size))
    shift = 0.5 if aligned else 0.0
    for n, (image, *box) in enumerate(boxes):
        x1, y1, x2, y2 = (side * scale - shift for side in box)
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = max(height, 1.0), max(width, 1.0)
        bin_h, bin_w = height / size[0], width / size[1]
        num_y, num_x = (sampling, sampling) if sampling > 0 else (int(np.ceil(bin_h)), int(np.ceil(bin_w)))
        for c, i, j in np.ndindex(features.shape[1], *size):
            points = [
                bilinear_loop(
                    features[int(image), c],
                    y1 + i * bin_h + (a + 0.5) * bin_h / num_y,
                    x1 + j * bin_w + (b + 0.5) * bin_w / num_x,
                )
                for a, b in np.ndindex(num_y, num_x)
            ]
            output[n, c, i, j] = max(points) if mode == 'max' else sum(points) / len(points)
    return output


@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling', [0, 2])
def test_roi_align_equals_loop(device, mode, aligned, sampling):
    features = cells(device=device)
    output = roi_align(features, rois(device), (3, 2), SCALE, sampling, mode, aligned)
    expected = roi_align_loop(features.cpu().numpy(), ROIS, (3, 2), SCALE, sampling, mode, aligned)
    np.testing.assert_allclose(output.cpu(), expected, atol=1e-10)
    assert output.device.type == device.type


@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling', [0, 2])
def test_roi_align_gradient(device, mode, aligned, sampling):
    features = cells(device=device).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, rois(device), (3, 2), SCALE, sampling, mode, aligned), features, eps=1e-4
    )


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_roi_align_of_an_empty_roi_is_zero(mode):
    features = cells().requires_grad_()
    output = roi_align(features, torch.tensor([[0, 3.0, 3, 3, 3]]).double(), 2, SCALE, 0, mode, True)
    output.sum().backward()
    assert not output.any()
    assert not features.grad.any()


def test_roi_align_without_rois():
    features = cells().requires_grad_()
    for mode in ('avg', 'max'):
        output = RoIAlign(2, SCALE, pool_mode=mode)(features, torch.zeros(0, 5).double())
        assert output.shape == (0, 2, 2, 2)
        output.sum().backward()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_roi_align_in_half_precision(device, dtype, mode):
    single = (cells(device=device, dtype=torch.float32) / 10).requires_grad_()
    half = single.detach().to(dtype).requires_grad_()
    exact, output = (roi_align(x, rois(device, torch.float32), 2, SCALE, 2, mode, True) for x in (single, half))
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), exact, rtol=2e-2, atol=2e-2)
    exact.sum().backward()
    output.sum().backward()
    assert half.grad.dtype == dtype
    # Rounding moves the stored winner of a maximum by a fraction of a cell.
    torch.testing.assert_close(half.grad.float(), single.grad, rtol=2e-2, atol=2e-2 if mode == 'avg' else 0.1)


def roi_pool_loop(features, boxes, size, scale):
    output = np.zeros((len(boxes), features.shape[1], *size))
    height, width = features.shape[2:]
    for n, (image, x1, y1, x2, y2) in enumerate(boxes):
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        if x2 <= x1 or y2 <= y1:
            continue
        bin_h, bin_w = (y2 - y1) / size[0], (x2 - x1) / size[1]
        for i, j in np.ndindex(*size):
            top, bottom = int(np.floor(i * bin_h + y1)), int(np.ceil((i + 1) * bin_h + y1))
            left, right = int(np.floor(j * bin_w + x1)), int(np.ceil((j + 1) * bin_w + x1))
            part = features[int(image), :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            if part.size:
                output[n, :, i, j] = part.max(axis=(1, 2))
    return output


BACKWARDS = [[0, 9.0, 3, 2, 8]]
OUTSIDE = [[1, 40.0, 40, 50, 50]]


def test_roi_pool_equals_loop(device):
    features = cells(device=device) - 5
    boxes = ROIS + BACKWARDS + OUTSIDE
    output = RoIPool((3, 2), SCALE)(features, torch.tensor(boxes, device=device).double())
    np.testing.assert_allclose(output.cpu(), roi_pool_loop(features.cpu().numpy(), boxes, (3, 2), SCALE))
    assert not output[-2:].any()


def test_roi_pool_gradient(device):
    features = cells(device=device).requires_grad_()
    boxes = torch.tensor(ROIS + BACKWARDS + OUTSIDE, device=device).double()
    assert torch.autograd.gradcheck(lambda x: roi_pool(x, boxes, (3, 2), SCALE), features, eps=1e-4)


def test_roi_pool_without_rois():
    assert roi_pool(cells(), torch.zeros(0, 5).double(), (3, 2), SCALE).shape == (0, 2, 3, 2)


def test_point_sample_runs_and_is_bilinear(device):
    features = cells(num=1, device=device).requires_grad_()
    centre = torch.tensor([[[2.5 / 8, 3.5 / 7], [3.0 / 8, 3.5 / 7]]], device=device).double()
    sampled = point_sample(features, centre)
    plane = features[0].detach()
    torch.testing.assert_close(sampled[0, :, 0], plane[:, 3, 2])
    torch.testing.assert_close(sampled[0, :, 1], (plane[:, 3, 2] + plane[:, 3, 3]) / 2)
    sampled.sum().backward()
    assert features.grad.sum().item() == pytest.approx(4)
