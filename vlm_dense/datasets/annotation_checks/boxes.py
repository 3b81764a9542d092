"""What is wrong with a box."""

from typing import Any

from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.records import is_finite

Size = tuple[int, int]


def check_box(box: Any, size: Size | None, place: str, slack: float, defects: Defects, is_xyxy: bool = False) -> None:
    """Report the first thing that is wrong with a box.

    Args:
        box: Whatever the file has: (x, y, width, height), or the corners with ``is_xyxy``, in pixels.
        size: Width and height of the picture, where they are known.
        place: For the report.
        slack: Pixels by which the box may reach over the edge.
        defects: Filled.
        is_xyxy: Whether the last two numbers are a corner.
    """
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite, box)):
        defects.add('box-not-numbers', place, f'the box is {str(box)[:80]}')
        return
    x, y, right, bottom = box if is_xyxy else (box[0], box[1], box[0] + box[2], box[1] + box[3])
    if right <= x or bottom <= y:
        defects.add('box-without-area', place, f'the box is {box}')
    elif size is not None and (min(x, y) < -slack or right > size[0] + slack or bottom > size[1] + slack):
        defects.add('box-outside-picture', place, f'the box is {box}, the picture {size[0]} x {size[1]}')
