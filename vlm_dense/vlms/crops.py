"""Cutting regions out of a batch of pictures, for towers that embed whole pictures."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

from vlm_dense.errors import DataError

MIN_SIDE = 1.0  # pixels


def crop_regions(
    images_B3HW: Tensor,
    boxes: Sequence[Tensor],
    scales: Sequence[float] = (1.0, 1.5),
    size: int = 224,
    image_shapes: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Cut boxes, enlarged about their centres and clipped to the picture, and resize them to squares.

    ViLD (arXiv:2104.13921, section 3.2) sums the embeddings of the 1x and the 1.5x crop. All crops come from one
    RoIAlign over the batch, on the batch's device: each output pixel averages bilinear samples that are at most one
    pixel apart. That differs from the usual PIL route in three ways: corners stay fractions of a pixel (no rounding),
    enlarging is bilinear rather than bicubic, and reducing averages a box as wide as the output pixel rather than
    weighting a bicubic window of four. On smooth pictures the two agree closely.

    Args:
        images_B3HW: Pictures in any normalisation; values are kept.
        boxes: One (n_i, 4) tensor per picture, xyxy in pixels of ``images_B3HW``; may be empty.
        scales: Factors on the sides of the boxes.
        size: Side of the crops in pixels.
        image_shapes: Height and width of each picture without its padding; None clips to H x W.

    Returns:
        (len(scales), N, 3, size, size) with N the boxes of all pictures in order. A box that has less than a pixel
        inside the picture is widened to one pixel.

    Raises:
        DataError: If pictures, boxes and shapes differ in number.
    """
    if len(boxes) != len(images_B3HW) or (image_shapes is not None and len(image_shapes) != len(images_B3HW)):
        raise DataError(
            f'{len(images_B3HW)} pictures came with {len(boxes)} lists of boxes. Give one list per picture.'
        )
    if image_shapes is None:
        height, width = images_B3HW.shape[2:]
        image_shapes = [(height, width)] * len(images_B3HW)
    crops = []
    for scale in scales:
        scaled = [
            scale_and_clip(box_N4.to(images_B3HW), scale, shape)
            for box_N4, shape in zip(boxes, image_shapes, strict=True)
        ]
        crops.append(roi_align(images_B3HW, scaled, output_size=size, sampling_ratio=-1, aligned=True))
    return torch.stack(crops)


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
