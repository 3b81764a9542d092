import numpy as np
import pytest
import torch
from PIL import Image

from vlm_dense.errors import DataError
from vlm_dense.vlms import crop_regions
from vlm_dense.vlms.crops import scale_and_clip


def smooth_picture(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing='ij')
    return torch.stack([x, y, (x * 5 + y * 3).sin() * 0.5 + 0.5])[None].float()


def pil_crop(image_3HW: torch.Tensor, box: list[int], size: int) -> torch.Tensor:
    channels = [
        Image.fromarray(channel.numpy(), mode='F').crop(box).resize((size, size), Image.Resampling.BICUBIC)
        for channel in image_3HW
    ]
    return torch.stack([torch.from_numpy(np.array(channel)) for channel in channels])


@pytest.mark.parametrize('box', [[10, 20, 90, 70], [0, 0, 160, 120], [40, 30, 60, 55], [100, 50, 160, 120]])
@pytest.mark.parametrize('size', [24, 64])
def test_agrees_with_pil_on_smooth_pictures(box: list[int], size: int) -> None:
    images = smooth_picture(120, 160)
    crop = crop_regions(images, [torch.tensor([box]).float()], scales=(1.0,), size=size)[0, 0]
    expected = pil_crop(images[0], box, size)
    assert (crop - expected).abs().max() < 0.02
    assert (crop - expected).abs().mean() < 0.003


def test_identity_where_the_box_is_the_picture() -> None:
    images = torch.randn(1, 3, 16, 16)
    crop = crop_regions(images, [torch.tensor([[0.0, 0.0, 16.0, 16.0]])], scales=(1.0,), size=16)[0]
    torch.testing.assert_close(crop, images)


def test_reducing_averages_all_pixels() -> None:
    images = torch.randn(1, 3, 32, 32)
    crop = crop_regions(images, [torch.tensor([[0.0, 0.0, 32.0, 32.0]])], scales=(1.0,), size=8)[0]
    torch.testing.assert_close(crop, torch.nn.functional.avg_pool2d(images, 4))


def test_boxes_of_a_batch_keep_their_order_and_scales() -> None:
    images = torch.cat([smooth_picture(40, 60), smooth_picture(40, 60).flip(3), torch.zeros(1, 3, 40, 60)])
    boxes = [torch.tensor([[10.0, 10, 20, 20], [30, 5, 50, 35]]), torch.zeros(0, 4), torch.tensor([[1.0, 1, 9, 9]])]
    crops = crop_regions(images, boxes, size=12)
    assert crops.shape == (2, 3, 3, 12, 12)
    for row, (image, box) in enumerate([(0, [10, 10, 20, 20]), (0, [30, 5, 50, 35]), (2, [1, 1, 9, 9])]):
        alone = crop_regions(images[image : image + 1], [torch.tensor([box]).float()], size=12)
        torch.testing.assert_close(crops[:, row], alone[:, 0])


def test_no_boxes_at_all() -> None:
    assert crop_regions(torch.zeros(2, 3, 8, 8), [torch.zeros(0, 4)] * 2, size=6).shape == (2, 0, 3, 6, 6)


def test_enlarging_about_the_centre() -> None:
    box = torch.tensor([[40.0, 30.0, 60.0, 50.0]])
    torch.testing.assert_close(scale_and_clip(box, 1.5, (100, 100)), torch.tensor([[35.0, 25.0, 65.0, 55.0]]))
    # The detection papers write it as x1' = 1.25 x1 - 0.25 x2.
    expected = torch.stack([1.25 * box[:, 0] - 0.25 * box[:, 2], 1.25 * box[:, 2] - 0.25 * box[:, 0]], dim=1)
    torch.testing.assert_close(scale_and_clip(box, 1.5, (100, 100))[:, [0, 2]], expected)


def test_clipping_to_the_picture_and_to_its_unpadded_part() -> None:
    box = torch.tensor([[80.0, 80.0, 120.0, 110.0]])
    torch.testing.assert_close(scale_and_clip(box, 1.0, (100, 90)), torch.tensor([[80.0, 80.0, 90.0, 100.0]]))
    images = torch.zeros(1, 3, 20, 20)
    images[:, :, :10, :10] = 1
    whole = [torch.tensor([[0.0, 0.0, 20.0, 20.0]])]
    crop = crop_regions(images, whole, scales=(1.0,), size=5, image_shapes=[(10, 10)])
    torch.testing.assert_close(crop, torch.ones_like(crop))


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
def test_thin_or_outside_boxes_are_widened_to_a_pixel_inside(box: list[float]) -> None:
    out = scale_and_clip(torch.tensor([box]).float(), 1.0, (20, 20))[0]
    assert (out >= 0).all()
    assert (out <= 20).all()
    assert out[2] - out[0] >= 1 - 1e-5
    assert out[3] - out[1] >= 1 - 1e-5
    images = torch.full((1, 3, 20, 20), 7.0)
    crops = crop_regions(images, [torch.tensor([box]).float()], size=4)
    torch.testing.assert_close(crops, torch.full_like(crops, 7.0))


def test_numbers_must_agree() -> None:
    with pytest.raises(DataError, match='2 pictures came with 1 lists of boxes'):
        crop_regions(torch.zeros(2, 3, 8, 8), [torch.zeros(0, 4)])
