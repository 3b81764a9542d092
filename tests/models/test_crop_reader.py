"""Crops of masks, cut by hand with Pillow and embedded by open_clip itself."""

from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from recipe_parts import tiny_clip_vit
from torch import Tensor, nn

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models.regions import CropReader, PoolReader
from vlm_dense.registry import MODELS
from vlm_dense.vlms import OpenClipTower

SIDE = 96  # of the tiny model's pictures


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def tower_and_twin() -> tuple[OpenClipTower, Any]:
    """A tower, and open_clip's model with the same weights."""
    tower = OpenClipTower(tiny_clip_vit(2))
    twin = open_clip.create_model(tiny_clip_vit(2)).eval()
    twin.visual.load_state_dict(tower.visual.state_dict())
    return tower, twin


def reader_of(tower: nn.Module | dict, **settings: Any) -> CropReader:
    return MODELS.build({'type': 'vlm_dense.CropReader', 'tower': tower, **settings})


def smooth_pictures(count: int, height: int, width: int) -> Tensor:
    rough = torch.rand(count, 3, 5, 7) * 255
    return F.interpolate(rough, (height, width), mode='bilinear').round().to(torch.uint8)


def masks_of(*sides: int) -> Tensor:
    """Logits of four regions at a quarter of the pictures' size; the second is empty."""
    mask_BNhw = F.interpolate(torch.randn(2, 4, 4, 4), sides, mode='bilinear')
    mask_BNhw[:, 1] = -3
    return mask_BNhw


def by_hand(twin: Any, picture: np.ndarray, inside: np.ndarray, mean: Tensor, threshold: float) -> Tensor:
    """Tight box, what is outside of the mask filled with the mean colour, Pillow's bicubic resizing, encode_image."""
    bits = inside > threshold
    rows, columns = bits.any(1).nonzero()[0], bits.any(0).nonzero()[0]
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    filled = np.where(bits[..., None], picture, mean.round().byte().numpy())[box]
    pixels = np.asarray(Image.fromarray(filled).resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.float32) / 255
    image = (torch.from_numpy(pixels) - torch.tensor(twin.visual.image_mean)) / torch.tensor(twin.visual.image_std)
    return twin.encode_image(image.permute(2, 0, 1)[None], normalize=True)[0]


@pytest.mark.parametrize('threshold', [0.5, 0.4])
def test_rows_equal_crops_by_hand(threshold: float) -> None:
    tower, twin = tower_and_twin()
    pictures, masks = smooth_pictures(2, 120, 160), masks_of(30, 40)
    region_BND, empty_BN = reader_of(tower, threshold=threshold)(pictures, None, (), masks)
    assert empty_BN.tolist() == [[False, True, False, False]] * 2
    inside = F.interpolate(masks, (120, 160), mode='bilinear').sigmoid().numpy()
    for picture in range(2):
        pixels = pictures[picture].permute(1, 2, 0).numpy()
        for mask in (0, 2, 3):
            expected = by_hand(twin, pixels, inside[picture, mask], torch.tensor(tower.mean), threshold)
            # A byte differs by 1 from Pillow's at some places.
            torch.testing.assert_close(region_BND[picture, mask], expected, rtol=0, atol=2e-4)
        everything = by_hand(twin, pixels, np.ones((120, 160)), torch.tensor(tower.mean), threshold)
        torch.testing.assert_close(region_BND[picture, 1], everything, rtol=0, atol=2e-4)


def test_padding_belongs_to_no_mask() -> None:
    tower, _ = tower_and_twin()
    picture, mask = smooth_pictures(1, 64, 96), torch.randn(1, 3, 64, 96)
    padded = torch.full((1, 3, 96, 128), 200, dtype=torch.uint8)
    padded[..., :64, :96] = picture
    wide = torch.full((1, 3, 96, 128), 5.0)
    wide[..., :64, :96] = mask
    reader = reader_of(tower)
    expected = reader(picture, None, (), mask)
    found = reader(padded, None, (), wide, [(64, 96)])
    torch.testing.assert_close(found.region_BND, expected.region_BND)
    assert torch.equal(found.empty_BN, expected.empty_BN)


def test_chunks_change_nothing_and_no_mask_is_fine() -> None:
    tower, _ = tower_and_twin()
    pictures, masks = smooth_pictures(2, 120, 160), masks_of(30, 40)
    whole, parts = (reader_of(tower, chunk=chunk)(pictures, None, (), masks) for chunk in (32, 1))
    torch.testing.assert_close(parts.region_BND, whole.region_BND)
    assert torch.equal(parts.empty_BN, whole.empty_BN)
    none = reader_of(tower)(pictures, None, (), masks[:, :0])
    assert (none.region_BND.shape, none.empty_BN.shape) == ((2, 0, tower.embed_dim), (2, 0))


def test_prompted_towers_are_told_the_masks() -> None:
    prompted = MODELS.build({'type': 'vlm_dense.MaskPromptedTower', 'name': tiny_clip_vit(4)})
    prompted.visual.mask_embedding.normal_()
    pictures, masks = smooth_pictures(1, 96, 96), torch.full((1, 1, 96, 96), -5.0)
    masks[..., :40] = masks[..., 95:, 95:] = 5  # its box is the picture, which is then not resized
    reader = reader_of(prompted)
    inside = masks[:, 0] > 0
    filled = torch.where(inside[:, None], pictures.float(), torch.tensor(prompted.mean).round().view(3, 1, 1))
    images = (filled - torch.tensor(prompted.mean).view(3, 1, 1)) / torch.tensor(prompted.std).view(3, 1, 1)
    found = reader(pictures, None, (), masks).region_BND[0]
    torch.testing.assert_close(found, prompted.embed_images(images, inside), rtol=0, atol=1e-5)
    assert not torch.allclose(found, prompted.embed_images(images), atol=1e-2)


def test_the_tower_is_frozen_and_in_no_checkpoint() -> None:
    tower, _ = tower_and_twin()
    model = nn.ModuleDict({'regions': reader_of(tower)})
    model.train()
    assert not tower.training
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    assert not model.state_dict()
    assert not list(model.parameters())
    with torch.enable_grad():
        found = model['regions'](smooth_pictures(1, 96, 96), None, (), torch.ones(1, 1, 24, 24))
    assert not found.region_BND.requires_grad
    assert next(model.to(torch.float64)['regions'].tower.tower.parameters()).dtype == torch.float64


def test_logits_are_cosines_times_the_scale() -> None:
    reader = PoolReader(logit_scale=20.0)
    region_BND, text_KD = F.normalize(torch.randn(2, 3, 8), dim=2), F.normalize(torch.randn(5, 8), dim=1)
    expected = 20 * F.cosine_similarity(region_BND[:, :, None], text_KD, dim=3)
    torch.testing.assert_close(reader.logits(region_BND, text_KD), expected)
    assert PoolReader().logit_scale == 100
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(reader.logits(region_BND, text_KD), expected)
    with pytest.raises(ConfigError, match='8 numbers per region and words have 9'):
        reader.logits(region_BND, torch.zeros(5, 9))
    with pytest.raises(ConfigError, match='logit_scale=0 of PoolReader'):
        PoolReader(logit_scale=0)


def test_every_picture_needs_its_masks() -> None:
    tower, _ = tower_and_twin()
    with pytest.raises(DataError, match='2 pictures came with 1 sets of masks'):
        reader_of(tower)(smooth_pictures(2, 96, 96), None, (), torch.ones(1, 1, 24, 24))
