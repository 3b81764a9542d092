import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.vlms import crop_regions
from vlm_dense.vlms.crops import _resize, round_outwards, scale_and_clip, to_bytes
from vlm_dense.vlms.tower import normalize

BOXES = ([10, 20, 90, 70], [0, 0, 160, 120], [40, 30, 60, 55], [100, 50, 160, 120], [5, 2, 25, 118], [0, 60, 160, 80])


def random_pictures(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def photograph(height: int, width: int) -> torch.Tensor:
    """Edges and noise, (1, 3, H, W) uint8."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    waves = torch.stack([(x / 5).sin(), (y / 9).cos(), ((x // 13 + y // 7) % 2) * 2.0 - 1]) * 100 + 128
    return to_bytes(waves[None] + torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 15)


def as_pil(picture_3HW: torch.Tensor) -> Image.Image:
    return Image.fromarray(picture_3HW.permute(1, 2, 0).numpy())


def from_pil(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def assert_same_pixels(crop: torch.Tensor, expected: torch.Tensor) -> None:
    gap = (crop.int() - expected.int()).abs()
    assert gap.max() <= 2
    assert (gap > 1).float().mean() < 1e-3


@pytest.mark.parametrize('box', BOXES)
@pytest.mark.parametrize('size', [24, 64, 140])
@pytest.mark.parametrize('make', [photograph, lambda h, w: random_pictures(1, 3, h, w)])
def test_equals_pillow(box: list[int], size: int, make: object) -> None:
    pictures = make(120, 160)
    crop = crop_regions(pictures, [torch.tensor([box]).float()], scales=(1.0,), size=size)[0, 0]
    expected = as_pil(pictures[0]).crop(box).resize((size, size), Image.Resampling.BICUBIC)
    assert_same_pixels(crop, from_pil(expected))


@pytest.mark.parametrize('box', BOXES)
def test_centre_fit_equals_the_preprocessing_of_clip(box: list[int]) -> None:
    pictures = photograph(120, 160)
    crop = crop_regions(pictures, [torch.tensor([box]).float()], scales=(1.0,), size=48, fit='center')[0, 0]
    steps = Compose([Resize(48, InterpolationMode.BICUBIC), CenterCrop(48)])
    assert_same_pixels(crop, from_pil(steps(as_pil(pictures[0]).crop(box))))


def test_floating_pictures_are_rounded_and_resized_alike() -> None:
    pictures = photograph(60, 80)
    box = [torch.tensor([[3.0, 4.0, 70.0, 50.0]])]
    assert torch.equal(crop_regions(pictures + 0.4, box, size=20), crop_regions(pictures, box, size=20))


def test_other_devices_resize_floats_to_the_same_pixels() -> None:
    """What a GPU does, on the CPU."""

    pictures = photograph(120, 160)
    for box in BOXES:
        left, top, right, bottom = box
        patch = pictures[:, :, top:bottom, left:right]
        assert_same_pixels(_resize(patch.float(), (40, 40)), _resize(patch, (40, 40)))


def test_identity_where_the_box_is_the_picture() -> None:
    pictures = random_pictures(1, 3, 16, 16)
    crop = crop_regions(pictures, [torch.tensor([[0.0, 0.0, 16.0, 16.0]])], scales=(1.0,), size=16)[0]
    assert torch.equal(crop, pictures)


def test_boxes_of_a_batch_keep_their_order_and_scales() -> None:
    pictures = torch.cat([photograph(40, 60), photograph(40, 60).flip(3), random_pictures(1, 3, 40, 60)])
    boxes = [torch.tensor([[10.0, 10, 20, 20], [30, 5, 50, 35]]), torch.zeros(0, 4), torch.tensor([[1.0, 1, 9, 9]])]
    crops = crop_regions(pictures, boxes, size=12)
    assert crops.shape == (2, 3, 3, 12, 12)
    for row, (image, box) in enumerate([(0, [10, 10, 20, 20]), (0, [30, 5, 50, 35]), (2, [1, 1, 9, 9])]):
        alone = crop_regions(pictures[image : image + 1], [torch.tensor([box]).float()], size=12)
        assert torch.equal(crops[:, row], alone[:, 0])


def test_no_boxes_at_all() -> None:
    assert crop_regions(torch.zeros(2, 3, 8, 8), [torch.zeros(0, 4)] * 2, size=6).shape == (2, 0, 3, 6, 6)


def test_masks_hide_what_lies_outside() -> None:
    pictures = random_pictures(2, 3, 30, 40)
    masks = [torch.zeros(1, 30, 40, dtype=torch.bool), torch.ones(2, 30, 40, dtype=torch.bool)]
    masks[0][:, 10:20, 10:30] = True
    boxes = [torch.tensor([[10.0, 5, 30, 25]]), torch.tensor([[0.0, 0, 40, 30], [2, 3, 22, 23]])]
    crops = crop_regions(pictures, boxes, (1.0,), 20, masks=masks, outside=(1.0, 2.0, 3.0))[0]
    assert torch.equal(crops[0, :, 5:15], pictures[0, :, 10:20, 10:30])
    assert crops[0, :, :5].amax((1, 2)).tolist() == crops[0, :, :5].amin((1, 2)).tolist() == [1, 2, 3]
    assert torch.equal(crops[1:], crop_regions(pictures, [torch.zeros(0, 4), boxes[1]], (1.0,), 20)[0])


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_the_colour_of_hidden_pixels_is_rounded(dtype: torch.dtype) -> None:
    pictures, hidden = torch.zeros(1, 3, 8, 8, dtype=dtype), [torch.zeros(1, 8, 8, dtype=torch.bool)]
    boxes, colour = [torch.tensor([[0.0, 0, 8, 8]])], (1.4, 2.6, 122.77)
    crops = crop_regions(pictures, boxes, (1.0,), 8, masks=hidden, outside=colour)
    assert crops[0, 0, :, 0, 0].tolist() == [1, 3, 123]


def test_enlarging_about_the_centre() -> None:
    box = torch.tensor([[40.0, 30.0, 60.0, 50.0]])
    torch.testing.assert_close(scale_and_clip(box, 1.5, (100, 100)), torch.tensor([[35.0, 25.0, 65.0, 55.0]]))
    # The detection papers write it as x1' = 1.25 x1 - 0.25 x2.
    expected = torch.stack([1.25 * box[:, 0] - 0.25 * box[:, 2], 1.25 * box[:, 2] - 0.25 * box[:, 0]], dim=1)
    torch.testing.assert_close(scale_and_clip(box, 1.5, (100, 100))[:, [0, 2]], expected)


def test_corners_are_rounded_outwards_with_a_slack() -> None:
    boxes = torch.tensor([[0.5, 1.0, 2.5, 3.0], [0.9999, 1.9995, 4.0004, 5.002]])
    assert round_outwards(boxes).tolist() == [[0, 1, 3, 3], [1, 2, 4, 6]]


def test_clipping_to_the_picture_and_to_its_unpadded_part() -> None:
    box = torch.tensor([[80.0, 80.0, 120.0, 110.0]])
    torch.testing.assert_close(scale_and_clip(box, 1.0, (100, 90)), torch.tensor([[80.0, 80.0, 90.0, 100.0]]))
    pictures = torch.zeros(1, 3, 20, 20)
    pictures[:, :, :10, :10] = 1
    whole = [torch.tensor([[0.0, 0.0, 20.0, 20.0]])]
    crop = crop_regions(pictures, whole, scales=(1.0,), size=5, image_shapes=[(10, 10)])
    assert (crop == 1).all()


@pytest.mark.parametrize(
    'box',
    [
        [5, 5, 5, 9],
        [5, 5, 5, 5],
        [9, 9, 5, 5],
        [-30, -30, -20, -20],
        [19.9, 19.9, 60, 60],
        [300, 2, 310, 9],
        [0, 0, 0, 0],
    ],
)
@pytest.mark.parametrize('fit', ['squash', 'center'])
def test_thin_or_outside_boxes_are_widened_to_a_pixel_inside(box: list[float], fit: str) -> None:
    out = scale_and_clip(torch.tensor([box]).float(), 1.0, (20, 20))[0]
    assert (out >= 0).all()
    assert (out <= 20).all()
    assert out[2] - out[0] >= 1 - 1e-5
    assert out[3] - out[1] >= 1 - 1e-5
    crops = crop_regions(torch.full((1, 3, 20, 20), 7.0), [torch.tensor([box]).float()], size=4, fit=fit)
    assert (crops == 7).all()


def test_normalising_bytes_and_floats() -> None:
    pictures = random_pictures(2, 3, 5, 4)
    mean, std = (10.0, 20.0, 30.0), (2.0, 3.0, 4.0)
    expected = (pictures.numpy() - np.array(mean).reshape(3, 1, 1)) / np.array(std).reshape(3, 1, 1)
    for given in (pictures, pictures.float()):
        kept = given.clone()
        np.testing.assert_allclose(normalize(given, mean, std).numpy(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(given, kept)


def test_mistakes_are_named() -> None:
    with pytest.raises(DataError, match='2 pictures came with 1 lists of boxes'):
        crop_regions(torch.zeros(2, 3, 8, 8), [torch.zeros(0, 4)])
    with pytest.raises(DataError, match='boxes and masks differ in number'):
        crop_regions(torch.zeros(1, 3, 8, 8), [torch.ones(2, 4)], masks=[torch.ones(1, 8, 8, dtype=torch.bool)])
    with pytest.raises(ConfigError, match="fit='stretch'; write 'squash' or 'center'"):
        crop_regions(torch.zeros(1, 3, 8, 8), [torch.zeros(0, 4)], fit='stretch')
