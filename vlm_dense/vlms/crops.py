"""Cutting regions out of a batch of pictures, for towers that embed whole pictures."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.errors import ConfigError, DataError

MIN_SIDE = 1.0  # pixels
SLACK = 1e-3  # pixels; a corner that arithmetic put just beyond a whole number does not cost a row of pixels

Fit = Literal['squash', 'center']
FITS: tuple[str, ...] = ('squash', 'center')


def crop_regions(
    pictures_B3HW: Tensor,
    boxes: Sequence[Tensor],
    scales: Sequence[float] = (1.0, 1.5),
    size: int = 224,
    image_shapes: Sequence[tuple[int, int]] | None = None,
    fit: Fit = 'squash',
    masks: Sequence[Tensor] | None = None,
    outside: Sequence[float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """Cut boxes, enlarged about their centres and clipped to the picture, and resize them to squares.

    Corners are rounded outwards to whole pixels and resizing is bicubic with antialiasing in 8 bits, as in CLIP's own
    preprocessing (Pillow): values differ by 1 of 255 at most places, by 2 at the most. ViLD (arXiv:2104.13921,
    section 3.2) sums the embeddings of the 1x and the 1.5x crop; ZegFormer (arXiv:2112.07910, section 3.3) and OVSeg
    (arXiv:2210.04150) hide what lies outside a region's mask.

    Args:
        pictures_B3HW: Values 0..255, any dtype; fractions are rounded.
        boxes: One (n_i, 4) tensor per picture, xyxy in pixels of the pictures; may be empty.
        scales: Factors on the sides of the boxes.
        size: Side of the crops in pixels.
        image_shapes: Height and width of each picture without its padding; None clips to H x W.
        fit: 'squash' brings both sides to ``size``; 'center' the shorter one, and cuts the middle out of the longer, as
            CLIP's preprocessing does.
        masks: One boolean (n_i, H, W) tensor per picture: pixels outside a region's mask become ``outside``. None
            hides nothing.
        outside: Colour of hidden pixels, 0..255 in the channels' order; a tower's ``mean`` is 0 after normalisation.

    Returns:
        (len(scales), N, 3, size, size) uint8 with N the boxes of all pictures in order. A box that has less than a
        pixel inside the picture is widened to one pixel.

    Raises:
        ConfigError: If ``fit`` is neither of its two values.
        DataError: If pictures, boxes, masks and shapes differ in number.
    """
    if fit not in FITS:
        raise ConfigError(f"crop_regions: fit={fit!r}; write 'squash' or 'center'.")
    if image_shapes is None:
        height, width = pictures_B3HW.shape[2:]
        image_shapes = [(height, width)] * len(pictures_B3HW)
    _check_numbers(len(pictures_B3HW), boxes, image_shapes, masks)
    # 8 bits hold what Pillow would hold; torch resizes them on CPUs only.
    dtype = torch.uint8 if pictures_B3HW.device.type == 'cpu' else torch.float32
    pictures_B3HW = to_bytes(pictures_B3HW).to(dtype)
    fill_311 = torch.tensor(outside).round().to(pictures_B3HW).view(3, 1, 1)
    shape = (len(scales), sum(map(len, boxes)), 3, size, size)
    crops_SN3ss = pictures_B3HW.new_empty(shape, dtype=torch.uint8)
    for crops_N3ss, scale in zip(crops_SN3ss, scales, strict=True):
        corners = [
            round_outwards(scale_and_clip(boxes_N4.double(), scale, shape))
            for boxes_N4, shape in zip(boxes, image_shapes, strict=True)
        ]
        for row, patch_13hw in enumerate(_patches(pictures_B3HW, corners, masks, fill_311)):
            crops_N3ss[row] = _fit(patch_13hw, size, fit)[0]
    return crops_SN3ss


def to_bytes(pictures_B3HW: Tensor) -> Tensor:
    """Values 0..255 as uint8, fractions rounded."""
    if pictures_B3HW.dtype == torch.uint8:
        return pictures_B3HW
    return pictures_B3HW.round().clamp(0, 255).to(torch.uint8)


def scale_and_clip(boxes_N4: Tensor, scale: float, shape: tuple[int, int]) -> Tensor:
    """Enlarge boxes about their centres and clip them to a picture, leaving at least one pixel.

    Args:
        boxes_N4: xyxy in pixels.
        scale: Factor on both sides.
        shape: Height and width of the picture.

    Returns:
        (N, 4) xyxy in pixels.
    """
    height, width = shape
    limit_2 = boxes_N4.new_tensor([width, height])
    center_N2 = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
    half_N2 = (boxes_N4[:, 2:] - boxes_N4[:, :2]).clamp(min=0) / 2 * scale
    low_N2 = torch.minimum((center_N2 - half_N2).clamp(min=0), limit_2)
    high_N2 = torch.minimum((center_N2 + half_N2).clamp(min=0), limit_2)
    thin_N2 = high_N2 - low_N2 < MIN_SIDE
    middle_N2 = torch.minimum(((low_N2 + high_N2) / 2).clamp(min=MIN_SIDE / 2), limit_2 - MIN_SIDE / 2)
    low_N2 = torch.where(thin_N2, middle_N2 - MIN_SIDE / 2, low_N2)
    high_N2 = torch.where(thin_N2, middle_N2 + MIN_SIDE / 2, high_N2)
    return torch.cat([low_N2, high_N2], dim=1)


def round_outwards(boxes_N4: Tensor) -> Tensor:
    """The smallest boxes of whole pixels that hold the given ones, up to `SLACK`: (N, 4) int64."""
    low_N2, high_N2 = (boxes_N4[:, :2] + SLACK).floor(), (boxes_N4[:, 2:] - SLACK).ceil()
    return torch.cat([low_N2, high_N2], dim=1).long()


def _patches(
    pictures_B3HW: Tensor, corners: Sequence[Tensor], masks: Sequence[Tensor] | None, fill_311: Tensor
) -> Iterator[Tensor]:
    """Per region what its corners (n_i, 4) hold, (1, 3, h, w)."""
    for image, corners_N4 in enumerate(corners):
        for region, (left, top, right, bottom) in enumerate(corners_N4.tolist()):
            patch_3hw = pictures_B3HW[image, :, top:bottom, left:right]
            if masks is not None:
                patch_3hw = torch.where(masks[image][region, top:bottom, left:right], patch_3hw, fill_311)
            yield patch_3hw[None]


def _fit(patch_13hw: Tensor, size: int, fit: Fit) -> Tensor:
    """(1, 3, size, size)."""
    if fit == 'squash':
        return _resize(patch_13hw, (size, size))
    height, width = patch_13hw.shape[2:]
    short = min(height, width)
    # As torchvision's Resize and CenterCrop round.
    long_height, long_width = size * height // short, size * width // short
    top, left = round((long_height - size) / 2), round((long_width - size) / 2)
    return _resize(patch_13hw, (long_height, long_width))[..., top : top + size, left : left + size]


def _resize(patch_13hw: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic and antialiased, one axis after the other, rounded in between as Pillow does."""
    height, width = patch_13hw.shape[2:]
    # Which side goes first was found by trying Pillow 13. Earlier ones always start with the width, which moves few
    # pixels by more than 2 of 255.
    height_first = height > size[0] and height - size[0] > 2 * (width - size[1])
    for target in ((size[0], width) if height_first else (height, size[1]), size):
        patch_13hw = F.interpolate(patch_13hw, target, mode='bicubic', antialias=True, align_corners=False)
        if patch_13hw.is_floating_point():
            patch_13hw = patch_13hw.round_().clamp_(0, 255)
    return patch_13hw


def _check_numbers(
    pictures: int,
    boxes: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    masks: Sequence[Tensor] | None,
) -> None:
    if len(boxes) != pictures or len(image_shapes) != pictures:
        raise DataError(f'{pictures} pictures came with {len(boxes)} lists of boxes. Give one list per picture.')
    if masks is not None and [len(some) for some in masks] != [len(some) for some in boxes]:
        raise DataError('crop_regions: boxes and masks differ in number. Give one mask per box.')
