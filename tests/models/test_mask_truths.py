"""Segments of semantic, instance and panoptic truth."""

import numpy as np
import pytest
import torch
from mmdet.models.utils import preprocess_panoptic_gt
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from vlm_dense.errors import ConfigError
from vlm_dense.models.heads.mask import segments_of_instances, segments_of_labels, segments_of_panoptic
from vlm_dense.models.heads.mask.truths import taught_segments
from vlm_dense.models.requests import WordRows

H, W = 6, 8


def label_map() -> torch.Tensor:
    return torch.tensor(np.random.default_rng(0).choice([0, 3, 7, 255, 900], size=(H, W)))


@pytest.mark.parametrize('ignored', [255, 900, 5])
def test_every_label_of_a_map_is_a_segment_but_the_ignored_one(ignored: int) -> None:
    label_HW = label_map()
    found = segments_of_labels(label_HW, ignored)
    assert found.labels.tolist() == [label for label in (0, 3, 7, 255, 900) if label != ignored]
    for label, mask_HW in zip(found.labels, found.masks, strict=True):
        assert torch.equal(mask_HW, label_HW == label)


def test_labels_of_one_byte_and_a_map_without_labels() -> None:
    found = segments_of_labels(torch.full((H, W), 255, dtype=torch.uint8), 255)
    assert found.labels.dtype == torch.int64
    assert found.masks.shape == (0, H, W)


def instances() -> tuple[InstanceData, np.ndarray]:
    masks_GHW = np.random.default_rng(1).integers(0, 2, (3, H, W)).astype(np.uint8)
    masks_GHW[1] = 0
    return InstanceData(labels=torch.tensor([1, 0, 0]), masks=BitmapMasks(masks_GHW, H, W)), masks_GHW


def test_instances_without_a_pixel_are_no_segments() -> None:
    truth, masks_GHW = instances()
    found = segments_of_instances(truth)
    assert found.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(found.masks.numpy(), masks_GHW[[0, 2]])
    again = segments_of_instances(InstanceData(labels=truth.labels, masks=torch.tensor(masks_GHW)))
    assert torch.equal(again.masks, found.masks)


def test_panoptic_truth_is_that_of_mmdet() -> None:
    """Things 0 and 1, stuff 2 to 7, as mmdet orders them; here things may stand anywhere among the words."""
    truth, masks_GHW = instances()
    kept = InstanceData(labels=truth.labels[[0, 2]], masks=BitmapMasks(masks_GHW[[0, 2]], H, W))
    label_HW = torch.tensor(np.random.default_rng(2).choice([0, 1, 3, 7, 255], size=(H, W)))
    labels_G, masks_GHW = preprocess_panoptic_gt(kept.labels, kept.masks, label_HW[None], 2, 6)
    found = segments_of_panoptic(truth, label_HW, torch.arange(8) < 2, 255)
    order = torch.argsort(labels_G[2:]) + 2
    assert torch.equal(found.labels, torch.cat([labels_G[:2], labels_G[order]]))
    assert torch.equal(found.masks.long(), torch.cat([masks_GHW[:2], masks_GHW[order]]))
    moved = segments_of_panoptic(truth, label_HW, torch.tensor([True, True, False, True, *[False] * 4]), 255)
    assert moved.labels.tolist() == [1, 0, 7]


def test_a_picture_without_instances_has_its_stuff() -> None:
    none = InstanceData(labels=torch.zeros(0, dtype=torch.long), masks=BitmapMasks([], H, W))
    found = segments_of_panoptic(none, label_map(), torch.zeros(8, dtype=torch.bool), 255)
    assert found.labels.tolist() == [0, 3, 7, 900]
    assert found.masks.shape == (4, H, W)


@pytest.mark.parametrize(('has_background', 'rows'), [(True, [0, 2]), (False, [0])])
def test_seen_words_and_the_background_are_taught(has_background: bool, rows: list[int]) -> None:
    truth = InstanceData(labels=torch.tensor([0, 1, 3]), masks=torch.eye(3, dtype=torch.bool)[:, None])
    request = WordRows(torch.zeros(3, 2), torch.tensor([True, False, True]))
    found = taught_segments(truth, request, has_background)
    assert torch.equal(found.labels, truth.labels[rows])
    assert torch.equal(found.masks, truth.masks[rows].long())


def test_truth_without_masks_is_named() -> None:
    with pytest.raises(ConfigError, match='labels and masks'):
        taught_segments(InstanceData(labels=torch.zeros(1)), WordRows(torch.zeros(1, 2), torch.ones(1).bool()), False)


def test_words_of_which_none_is_seen_teach_nothing_and_that_is_told() -> None:
    truth = InstanceData(labels=torch.tensor([0]), masks=torch.ones(1, H, W, dtype=torch.bool))
    with pytest.raises(ConfigError, match='none of the 3 words of the request is seen'):
        taught_segments(truth, WordRows(torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool)), True)
