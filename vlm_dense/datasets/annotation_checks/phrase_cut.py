"""PhraseCut's tasks: a phrase of a picture with polygons and boxes."""

import math
from typing import Any

from vlm_dense.datasets.annotation_checks.boxes import Size, check_box
from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.files import PictureFiles
from vlm_dense.datasets.annotation_checks.masks import CORNERS, mask_problem
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.annotation_checks.records import MISSING, field, integer_field, is_finite, records, text_field

MOST_PIXELS = 20_000  # a side; Visual Genome's pictures have far fewer


def check_phrase_cut(tasks: list[Any], options: CheckOptions, defects: Defects) -> None:
    """Check all tasks. The json has no sizes: boxes and masks meet their picture's edge only with its file.

    Args:
        tasks: The json.
        options: Slack and folder of pictures.
        defects: Filled.
    """
    defects.format = 'PhraseCut json'
    usable = []
    first: dict[str, str] = {}
    for place, task in records(tasks, 'tasks', defects):
        identity = integer_field(task, 'image_id', place, defects)
        phrase = text_field(task, 'phrase', place, defects)
        usable.append((place, task, None if identity is None else f'{identity}.jpg'))
        if identity is None or phrase is None:
            continue
        key = str(task.get('task_id', (identity, phrase)))
        earlier = first.setdefault(key, place)
        if earlier != place:
            defects.add('duplicate-picture', place, f"'{phrase}' of picture {identity}: task {key} is {earlier} too")
    sizes: dict[str, Size | None] = {}
    names = list(dict.fromkeys(name for _, _, name in usable if name is not None))
    if options.pictures is not None:
        files = PictureFiles(options, defects)
        files.check((name, None) for name in names)
        sizes = files.sizes
    for place, task, name in usable:
        _check_regions(task, None if name is None else sizes.get(name), place, options, defects)
    defects.counted |= {'phrases': len(tasks), 'pictures': len(names)}


def _check_regions(
    task: dict[str, Any], size: Size | None, place: str, options: CheckOptions, defects: Defects
) -> None:
    boxes = field(task, 'instance_boxes', place, defects)
    for box in boxes if isinstance(boxes, list) else []:
        check_box(box, size, place, options.box_slack, defects)
    instances = field(task, 'Polygons', place, defects)
    if instances is MISSING:
        return
    polygons = _flattened(instances)
    if polygons is None:
        defects.add('mask-unreadable', place, "'Polygons' is no list of instances with lists of corners [x, y]")
        return
    # The data set passes over polygons with fewer corners; a mask needs one that has an area.
    problem = mask_problem([polygon for polygon in polygons if len(polygon) >= 2 * CORNERS], size or _around(polygons))
    if problem is not None:
        defects.add(problem[0], place, problem[1])


def _flattened(instances: Any) -> list[list[float]] | None:
    try:
        polygons = [[number for x, y in polygon for number in (x, y)] for instance in instances for polygon in instance]
    except (TypeError, ValueError):
        return None
    return polygons if all(is_finite(number) for polygon in polygons for number in polygon) else None


def _around(polygons: list[list[float]]) -> Size:
    """A picture that holds the polygons, where its size is not known."""
    width, height = (max((max(polygon[axis::2], default=0) for polygon in polygons), default=0) for axis in (0, 1))
    return min(MOST_PIXELS, max(1, math.ceil(width))), min(MOST_PIXELS, max(1, math.ceil(height)))
