"""COCO panoptic json: one annotation per picture, with segments that a map of coloured pixels shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlm_dense.datasets.annotation_checks.boxes import Size, check_box
from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.files import ReadFile, in_threads, read_whole, require_folder
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.annotation_checks.records import MISSING, field, integer_field, records, text_field

RGB_WEIGHTS = (1, 256, 256**2)  # a segment's id from its colour
NO_SEGMENT = 0


def is_panoptic(annotations: Any) -> bool:
    """Whether the annotations list segments."""
    return isinstance(annotations, list) and any(isinstance(a, dict) and 'segments_info' in a for a in annotations)


def check_segments(
    annotations: Any,
    sizes: Mapping[int, Size | None],
    categories: Mapping[int, str | None],
    options: CheckOptions,
    defects: Defects,
) -> None:
    """Check segments, and with ``options.maps`` the maps that show them.

    Args:
        annotations: The json's annotations.
        sizes: Width and height by image id.
        categories: Names by id.
        options: Slack of boxes and the folder of maps.
        defects: Filled.
    """
    maps: list[tuple[str, Size | None, set[int]]] = []
    count = 0
    for place, annotation in records(annotations, 'annotations', defects):
        image = integer_field(annotation, 'image_id', place, defects)
        if image is not None and image not in sizes:
            defects.add('unknown-image', place, f'image {image} is not listed')
        size = None if image is None else sizes.get(image)
        name = text_field(annotation, 'file_name', place, defects)
        segments: set[int] = set()
        for where, segment in records(annotation.get('segments_info'), f'{place}.segments_info', defects):
            _segment(segment, where, size, segments, categories, options, defects)
            count += 1
        if name is not None:
            maps.append((name, size, segments))
    defects.counted |= {'annotations': len(annotations), 'segments': count}
    if options.maps is not None:
        _check_maps(require_folder(options.maps, '--maps'), maps, defects)


def _segment(
    segment: dict[str, Any],
    place: str,
    size: Size | None,
    segments: set[int],
    categories: Mapping[int, str | None],
    options: CheckOptions,
    defects: Defects,
) -> None:
    identity = integer_field(segment, 'id', place, defects)
    if identity is not None and identity in segments:
        defects.add('duplicate-segment-id', place, f'id {identity} was used before')
    elif identity is not None:
        segments.add(identity)
    category = integer_field(segment, 'category_id', place, defects)
    if category is not None and category not in categories:
        defects.add('unknown-category', place, f'category {category} is not listed')
    box = field(segment, 'bbox', place, defects)
    if box is not MISSING:
        check_box(box, size, place, options.box_slack, defects)


def _check_maps(folder: Path, maps: list[tuple[str, Size | None, set[int]]], defects: Defects) -> None:
    def look(job: tuple[str, Size | None, set[int]]) -> tuple[ReadFile, set[int]]:
        read = read_whole(folder / job[0], keep=True)
        return ReadFile(read.size, read.digest, read.error), _segments_of(read.pixels)

    for (name, size, listed), (read, shown) in zip(maps, in_threads(look, maps), strict=True):
        if read.digest is None:
            defects.add('missing-map', name, f'is not in {folder}')
        elif read.size is None:
            defects.add('unreadable-map', name, read.error)
        elif not shown:
            defects.add('map-channels', name, 'is not RGB')
        else:
            if size is not None and read.size != size:
                defects.add('map-size-differs', name, f'is {read.size[0]} x {read.size[1]}, not {size[0]} x {size[1]}')
            for identity in sorted(shown - listed - {NO_SEGMENT}):
                defects.add('segment-not-listed', name, f'segment {identity} is not listed')
            for identity in sorted(listed - shown):
                defects.add('segment-not-in-map', name, f'segment {identity} has no pixel')


def _segments_of(pixels: np.ndarray | None) -> set[int]:
    """Ids in a map; none if it is not RGB."""
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != len(RGB_WEIGHTS):
        return set()
    return set(np.unique(pixels.astype(np.int64) @ np.array(RGB_WEIGHTS)).tolist())
