"""What is wrong with a mask: polygons, or run lengths (RLE), compressed or not."""

from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from vlm_dense.datasets.annotation_checks.boxes import Size
from vlm_dense.datasets.annotation_checks.records import is_integer

Problem = tuple[str, str]
CORNERS = 3  # fewer make no area
FAR = 10  # picture sides; what lies beyond has no pixel, and pycocotools takes memory for every step of an edge
CHUNK = range(48, 48 + 64)  # letters of a compressed RLE
BITS, SIGN, MORE = 0x1F, 0x10, 0x20


def mask_problem(segmentation: Any, size: Size) -> Problem | None:
    """The kind and description of the first thing that is wrong with a mask, or None.

    Args:
        segmentation: Whatever stands under ``segmentation``.
        size: Width and height of the picture in pixels.
    """
    if isinstance(segmentation, dict):
        return _rle_problem(segmentation, size)
    if isinstance(segmentation, list):
        return _polygons_problem(segmentation, size)
    return 'mask-unreadable', f'the mask is {str(segmentation)[:40]}'


def _polygons_problem(polygons: list[Any], size: Size) -> Problem | None:
    if not polygons:
        return 'empty-mask', 'there is no polygon'
    width, height = size
    far = FAR * max(size)
    usable = []
    for row, polygon in enumerate(polygons):
        numbers = flat_polygon(polygon)
        if numbers is None:
            return 'mask-unreadable', f'polygon {row} is not {CORNERS} or more pairs of finite numbers'
        usable.append(np.clip(numbers, -far, far))
    areas = mask_utils.area(mask_utils.frPyObjects(usable, height, width))
    return None if areas.any() else ('empty-mask', 'its polygons cover no pixel of the picture')


def flat_polygon(polygon: Any) -> np.ndarray | None:
    """The numbers x, y, x, y, ... of a polygon, or None if it is none."""
    try:
        numbers = np.asarray(polygon)
    except ValueError:  # ragged
        return None
    usable = numbers.ndim == 1 and numbers.dtype.kind in 'iuf' and len(numbers) >= 2 * CORNERS and not len(numbers) % 2
    if not usable or not np.isfinite(numbers).all():
        return None
    return numbers.astype(np.float64)


def _rle_problem(rle: dict[str, Any], size: Size) -> Problem | None:
    shape = rle.get('size')
    if not isinstance(shape, list) or len(shape) != 2 or not all(is_integer(side) and side > 0 for side in shape):
        return 'mask-unreadable', f"'size' of the RLE is {str(shape)[:40]}"
    counts = rle.get('counts')
    runs = _read_counts(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(is_integer(run) and run >= 0 for run in runs):
        return 'mask-unreadable', "'counts' of the RLE are no run lengths"
    if sum(runs) != shape[0] * shape[1]:
        return 'mask-unreadable', f'the run lengths make {sum(runs)} pixels, not {shape[0]} x {shape[1]}'
    if (shape[1], shape[0]) != size:
        return 'mask-size-differs', f'the mask is {shape[1]} x {shape[0]}, the picture {size[0]} x {size[1]}'
    return None if _area(rle, shape) else ('empty-mask', 'the RLE has no pixel')


def _area(rle: dict[str, Any], shape: list[int]) -> int:
    if isinstance(rle['counts'], str):
        return int(mask_utils.area(dict(size=shape, counts=rle['counts'].encode('ascii'))))
    return int(mask_utils.area(mask_utils.frPyObjects(rle, *shape)))


def _read_counts(text: str) -> list[int] | None:
    """Run lengths of a compressed RLE; pycocotools does not give them, and reads on behind a cut-off text.

    Five bits per letter, lowest first, a sixth that says whether more follow; from the third on, runs are differences
    to the one before the last (COCO's ``maskApi``).
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        if ord(letter) not in CHUNK:
            return None
        bits = ord(letter) - CHUNK.start
        value |= (bits & BITS) << shift
        shift += 5
        if bits & MORE:
            continue
        if bits & SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs
