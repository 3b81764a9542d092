"""Boxes of annotation files as everything else has them."""

from collections.abc import Sequence


def corners(box: Sequence[float]) -> list[float]:
    """COCO's (x, y, width, height) as xyxy, in the same pixels."""
    x, y, width, height = box
    return [x, y, x + width, y + height]
