"""Loops in numpy, written from the definitions, against ``mmcv.ops``."""

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, bbox_overlaps, nms, nms_match, soft_nms

import vlm_dense  # noqa: F401


def random_boxes(num, seed):
    """Boxes on integer and half pixels, so that ``offset`` decides some of the overlaps."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 30, (num, 2)) / 2
    size = rng.integers(2, 24, (num, 2)) / 2
    scores = rng.permutation(num) / num + 0.01
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32), scores.astype(np.float32)


def iou_loop(a, b, offset=0, over_first=False):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area_a = (a[2] - a[0] + offset) * (a[3] - a[1] + offset)
    area_b = (b[2] - b[0] + offset) * (b[3] - b[1] + offset)
    shared = width * height
    return shared / (area_a if over_first else area_a + area_b - shared)


def nms_loop(boxes, scores, threshold, offset):
    kept = []
    for index in np.argsort(-scores):
        if all(iou_loop(boxes[index], boxes[other], offset) <= threshold for other in kept):
            kept.append(index)
    return kept


def soft_nms_loop(boxes, scores, threshold, sigma, min_score, method, offset):
    rest, scores, kept = list(range(len(boxes))), scores.astype(np.float64), []
    while rest:
        best = max(rest, key=lambda index: scores[index])
        rest.remove(best)
        kept.append((best, scores[best]))
        for index in list(rest):
            iou = iou_loop(boxes[best], boxes[index], offset)
            if method == 'gaussian':
                scores[index] *= np.exp(-(iou**2) / sigma)
            elif iou >= threshold:
                scores[index] *= 1 - iou if method == 'linear' else 0
            if scores[index] < min_score:
                rest.remove(index)
    return kept


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.05, 0.3, 0.6])
def test_nms_equals_loop(device, offset, threshold):
    boxes, scores = random_boxes(40, seed=offset)
    dets, kept = nms(torch.tensor(boxes, device=device), torch.tensor(scores, device=device), threshold, offset=offset)
    expected = nms_loop(boxes, scores, threshold, offset)
    assert kept.tolist() == expected
    assert kept.device.type == device.type
    np.testing.assert_array_equal(dets[:, 4].cpu(), scores[expected])


def test_the_two_offsets_differ():
    boxes = torch.tensor([[0.0, 0, 3, 3], [1, 0, 4, 3]])
    scores = torch.tensor([0.9, 0.8])
    # 6 of 12 square pixels without the offset, 12 of 20 with it.
    assert len(nms(boxes, scores, 0.55, offset=0)[1]) == 2
    assert len(nms(boxes, scores, 0.55, offset=1)[1]) == 1


def test_nms_takes_arrays_a_score_threshold_and_a_limit():
    boxes, scores = random_boxes(30, seed=3)
    good = scores > 0.5
    expected = np.flatnonzero(good)[nms_loop(boxes[good], scores[good], 0.3, 0)][:4]
    _, kept = nms(boxes, scores, 0.3, score_threshold=0.5, max_num=4)
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_nms_in_other_precisions(dtype):
    boxes = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 7], [20, 20, 28, 28]], dtype=dtype)
    assert nms(boxes, torch.tensor([0.5, 0.25, 0.75], dtype=dtype), 0.5)[1].tolist() == [2, 0]


def test_nms_of_nothing():
    dets, kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert kept.dtype == torch.long


def test_batched_nms_keeps_classes_apart():
    boxes = torch.tensor([[0.0, 0, 8, 8]]).repeat(3, 1)
    scores, classes = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0])
    _, kept = batched_nms(boxes, scores, classes, {'type': 'nms', 'iou_threshold': 0.5})
    assert kept.tolist() == [0, 1]


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
def test_soft_nms_equals_loop(method, offset):
    boxes, scores = random_boxes(25, seed=5)
    settings = {'iou_threshold': 0.3, 'sigma': 0.4, 'min_score': 0.1, 'method': method, 'offset': offset}
    dets, kept = soft_nms(torch.tensor(boxes), torch.tensor(scores), **settings)
    expected = soft_nms_loop(boxes, scores, 0.3, 0.4, 0.1, method, offset)
    assert kept.tolist() == [index for index, _ in expected]
    np.testing.assert_allclose(dets[:, 4], [score for _, score in expected], rtol=1e-5)
    np.testing.assert_array_equal(dets[:, :4], boxes[kept])
    assert 1 < len(kept) < 25


def test_soft_nms_through_batched_nms():
    boxes, scores = random_boxes(12, seed=8)
    settings = {'type': 'soft_nms', 'iou_threshold': 0.3, 'min_score': 0.05}
    dets, kept = batched_nms(torch.tensor(boxes), torch.tensor(scores), torch.zeros(12, dtype=torch.long), settings)
    np.testing.assert_array_equal(dets[:, :4], boxes[kept])
    assert (dets[:, 4].diff() <= 0).all()


@pytest.mark.parametrize('as_array', [True, False])
def test_nms_match_equals_loop(as_array):
    boxes, scores = random_boxes(30, seed=7)
    dets = np.concatenate([boxes, scores[:, None]], axis=1)
    groups = [list(map(int, group)) for group in nms_match(dets if as_array else torch.tensor(dets), 0.3)]
    rest, expected = list(np.argsort(-scores)), []
    while rest:
        goes = [other for other in rest[1:] if iou_loop(boxes[rest[0]], boxes[other]) >= 0.3]
        expected.append([rest[0], *goes])
        rest = [other for other in rest[1:] if other not in goes]
    assert groups == expected
    assert len(groups) < 30


def test_nms_match_takes_a_box_whose_overlap_is_the_threshold():
    dets = np.array([[0, 0, 4, 4, 0.9], [0, 0, 4, 2, 0.8]], dtype=np.float32)
    assert [group.tolist() for group in nms_match(dets, 0.5)] == [[0, 1]]
    assert [group.tolist() for group in nms_match(dets, 0.51)] == [[0], [1]]


@pytest.mark.parametrize('mode', ['iou', 'iof'])
@pytest.mark.parametrize('offset', [0, 1])
def test_bbox_overlaps_equals_loop(device, mode, offset):
    first, second = random_boxes(7, seed=1)[0], random_boxes(5, seed=2)[0]
    table = [[iou_loop(a, b, offset, mode == 'iof') for b in second] for a in first]
    a, b = torch.tensor(first, device=device), torch.tensor(second, device=device)
    np.testing.assert_allclose(bbox_overlaps(a, b, mode, offset=offset).cpu(), table, rtol=1e-6)
    aligned = bbox_overlaps(a[:5], b, mode, aligned=True, offset=offset)
    np.testing.assert_allclose(aligned.cpu(), np.diag(np.array(table)[:5]), rtol=1e-6)


def test_bbox_overlaps_of_boxes_without_area_is_zero():
    flat = torch.tensor([[1.0, 1, 1, 5]])
    assert bbox_overlaps(flat, flat).tolist() == [[0.0]]
    assert bbox_overlaps(flat, torch.tensor([[0.0, 0, 9, 9]]), 'iof').tolist() == [[0.0]]
