"""Masks shown to a tower as pictures: numpy slices, torchvision's boxes, torch's nearest resizing, whole pictures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import masks_to_boxes

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import FrozenTower, ImageNetTower, MaskedCrops, MaskPromptedTower, crop_regions
from vlm_dense.vlms.masked_crops import nearest_crops

GRAY = (7.0, 8.0, 9.0)


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture(scope='module')
def tower() -> FrozenTower:
    return FrozenTower(ImageNetTower())


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


def blob(height: int, width: int) -> torch.Tensor:
    """Logits of a region from row 10 to 29 and column 20 to 39, with a hole in it."""
    mask = torch.full((1, height, width), -4.0)
    mask[:, 10:30, 20:40] = 4
    mask[:, 15:18, 25:30] = -4
    return mask


@pytest.mark.parametrize('style', ['crop', 'mask', 'crop_and_mask'])
def test_styles_equal_slices(style: str) -> None:
    picture, mask = pictures(1, 48, 48), blob(48, 48)
    box = slice(0, 48) if style == 'mask' else slice(10, 30), slice(0, 48) if style == 'mask' else slice(20, 40)
    expected = picture[0].permute(1, 2, 0).numpy().copy()
    if style != 'crop':
        expected[mask[0].numpy() < 0] = GRAY
    size = box[0].stop - box[0].start  # at its own size a crop is not resampled
    (cuts,) = MaskedCrops(style).cut(picture, [mask], size, GRAY)
    np.testing.assert_array_equal(cuts.crops_N3SS[0].permute(1, 2, 0).numpy(), expected[box])
    assert torch.equal(cuts.inside_NSS, mask[:, box[0], box[1]] > 0)
    assert cuts.empty_N.tolist() == [False]


def test_boxes_hold_the_last_row_and_column_that_torchvision_names() -> None:
    picture, mask = pictures(1, 40, 60), torch.nn.functional.interpolate(torch.randn(1, 6, 5, 7), (40, 60))[0] - 1
    boxes = masks_to_boxes(mask > 0)
    expected = crop_regions(picture, [boxes + torch.tensor([0, 0, 1, 1])], (1.0,), 32)[0]
    (cuts,) = MaskedCrops('crop').cut(picture, [mask], 32, GRAY)
    assert torch.equal(cuts.crops_N3SS, expected)
    assert not torch.equal(cuts.crops_N3SS, crop_regions(picture, [boxes], (1.0,), 32)[0])


def test_masks_are_resized_to_the_picture_and_cut_by_the_threshold() -> None:
    picture, mask = pictures(1, 64, 96), torch.randn(1, 5, 16, 24)
    probability = F.interpolate(mask, (64, 96), mode='bilinear').sigmoid()[0]
    for threshold in (0.5, 0.4):
        (cuts,) = MaskedCrops('mask', threshold).cut(picture, [mask[0]], 96, GRAY)
        expected = F.interpolate((probability > threshold)[:, None].float(), (96, 96), mode='nearest')[:, 0] > 0
        assert torch.equal(cuts.inside_NSS, expected)
        (same,) = MaskedCrops('mask', threshold, logits=False).cut(picture, [probability], 96, GRAY)
        (flags,) = MaskedCrops('mask', threshold).cut(picture, [probability > threshold], 96, GRAY)
        assert all(torch.equal(a, b) for other in (same, flags) for a, b in zip(cuts, other, strict=True))


def test_empty_masks_are_the_full_picture_without_padding(tower: FrozenTower) -> None:
    batch, shapes = pictures(2, 64, 96), [(64, 96), (40, 50)]
    padding = torch.full((1, 64, 96), -1.0)
    padding[:, 40:] = 1  # the second picture's padding alone
    for style in ('crop', 'mask', 'crop_and_mask'):
        region_ND, empty_N = MaskedCrops(style)(tower, batch, [padding - 9, padding], shapes)
        assert empty_N.tolist() == [True, True]
        whole = [torch.tensor([[0, 0, width, height]]) for height, width in shapes]
        crops = crop_regions(batch, whole, (1.0,), 224, shapes)[0]
        torch.testing.assert_close(region_ND, tower.embed_images(tower.normalize(crops)), rtol=0, atol=1e-5)


def test_empty_masks_are_embedded_once(tower: FrozenTower, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, masks = pictures(1, 64, 96), torch.randn(6, 16, 24)
    masks[[1, 3, 4]] = -9
    each_ND = torch.cat([MaskedCrops()(tower, batch, [mask[None]])[0] for mask in masks])
    seen = []
    embed = tower.embed_images
    monkeypatch.setattr(tower, 'embed_images', lambda images: seen.append(len(images)) or embed(images))
    region_ND, empty_N = MaskedCrops()(tower, batch, [masks])
    assert (seen, empty_N.nonzero()[:, 0].tolist()) == ([4], [1, 3, 4])
    torch.testing.assert_close(region_ND, each_ND, rtol=0, atol=1e-5)


@pytest.mark.parametrize('style', ['crop', 'mask', 'crop_and_mask'])
def test_full_masks_are_whole_pictures(tower: FrozenTower, style: str) -> None:
    batch = pictures(1, 224, 224)
    region_ND, empty_N = MaskedCrops(style)(tower, batch, [torch.ones(1, 224, 224, dtype=torch.bool)])
    torch.testing.assert_close(region_ND, tower.embed_images(tower.normalize(batch)), rtol=0, atol=1e-5)
    assert not empty_N.any()


def test_hidden_pixels_are_nothing_to_the_tower(tower: FrozenTower) -> None:
    (cuts,) = MaskedCrops('mask').cut(pictures(1, 48, 48), [blob(48, 48)], 48, tower.mean)
    hidden = tower.normalize(cuts.crops_N3SS).movedim(1, -1)[~cuts.inside_NSS]
    assert hidden.abs().max() <= 0.5 / 127.5 + 1e-6


def test_chunks_change_nothing(tower: FrozenTower) -> None:
    batch, masks = pictures(3, 64, 80), [torch.randn(5, 16, 20), torch.zeros(0, 16, 20), torch.randn(3, 16, 20)]
    whole = MaskedCrops(chunk=100)
    expected_ND, expected_N = whole(tower, batch, masks)
    assert expected_ND.shape == (8, 1280)
    for chunk in (1, 2, 3):
        reader = MaskedCrops(chunk=chunk)
        parts = list(reader.cut(batch, masks, 32, GRAY))
        assert max(len(cuts.empty_N) for cuts in parts) <= chunk
        for cut, all_cut in zip(
            zip(*parts, strict=True), zip(*whole.cut(batch, masks, 32, GRAY), strict=True), strict=True
        ):
            assert torch.equal(torch.cat(cut), torch.cat(all_cut))
        found_ND, found_N = reader(tower, batch, masks)
        # Matrix products of another height may be summed in another order.
        torch.testing.assert_close(found_ND, expected_ND, rtol=0, atol=1e-6)
        assert torch.equal(found_N, expected_N)


def test_no_masks(tower: FrozenTower) -> None:
    region_ND, empty_N = MaskedCrops()(tower, pictures(2, 32, 32), [torch.zeros(0, 8, 8)] * 2)
    assert region_ND.shape == (0, 1280)
    assert empty_N.shape == (0,)


@pytest.mark.parametrize('size', [16, 20, 64])
def test_nearest_crops_equal_torch(size: int) -> None:
    masks = torch.randn(4, 50, 70) > 0
    boxes = torch.tensor([[0, 0, 70, 50], [10, 5, 42, 37], [3, 4, 4, 5], [60, 1, 70, 49]])
    found = nearest_crops(masks, boxes, size)
    for mask, (left, top, right, bottom), crop in zip(masks, boxes.tolist(), found, strict=True):
        part = mask[None, None, top:bottom, left:right].float()
        assert torch.equal(crop, F.interpolate(part, (size, size), mode='nearest')[0, 0] > 0)


def test_a_prompted_tower_is_given_the_masks(tiny_models) -> None:
    prompted = MODELS.build({'type': 'vlm_dense.MaskPromptedTower', 'name': tiny_models['vit']})
    prompted.visual.mask_embedding.normal_()
    reader = MODELS.build({'type': 'vlm_dense.MaskedCrops', 'style': 'mask', 'threshold': 0.4})
    batch, mask = pictures(1, 48, 48), blob(48, 48)
    assert isinstance(prompted, MaskPromptedTower)
    found_ND, _ = reader(prompted, batch, [mask])
    (cuts,) = reader.cut(batch, [mask], 48, prompted.mean)
    expected_ND = prompted.embed_images(prompted.normalize(cuts.crops_N3SS), cuts.inside_NSS)
    assert torch.equal(found_ND, expected_ND)
    assert torch.equal(reader(FrozenTower(prompted), batch, [mask])[0], expected_ND)
    assert not torch.equal(prompted.embed_images(prompted.normalize(cuts.crops_N3SS)), expected_ND)


def test_mistakes_are_named(tower: FrozenTower) -> None:
    with pytest.raises(ConfigError, match='write one of crop, mask, crop_and_mask'):
        MaskedCrops('cropmask')
    with pytest.raises(ConfigError, match=r'threshold=1\.0 of MaskedCrops: write a probability'):
        MaskedCrops(threshold=1.0)
    with pytest.raises(ConfigError, match='chunk=0'):
        MaskedCrops(chunk=0)
    with pytest.raises(DataError, match='2 pictures came with 1 sets of masks'):
        MaskedCrops()(tower, pictures(2, 8, 8), [torch.zeros(1, 8, 8)])
