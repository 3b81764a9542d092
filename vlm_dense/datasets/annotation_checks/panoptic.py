"""COCO panoptic json: one annotation per picture, with segments that a map of coloured pixels shows."""

from collections.abc import Mapping
from os.path import splitext
from pathlib import Path
from typing import Any

from vlm_dense.datasets.annotation_checks.boxes import Size, check_box
from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.files import require_folder, usable_map
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.annotation_checks.records import (
    MISSING,
    field,
    integer_field,
    records,
    reference,
    text_field,
)

NO_SEGMENT = 0


def is_panoptic(annotations: Any) -> bool:
    """Whether the annotations list segments."""
    return isinstance(annotations, list) and any(isinstance(a, dict) and 'segments_info' in a for a in annotations)


def check_segments(
    annotations: Any,
    sizes: Mapping[int | str, Size | None],
    categories: Mapping[int | str, str | None],
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
        image = reference(annotation, 'image', place, sizes, defects)
        size = None if image is None else sizes[image]
        name = text_field(annotation, 'file_name', place, defects)
        segments: set[int] = set()
        for where, segment in records(annotation.get('segments_info'), f'{place}.segments_info', defects):
            _segment(segment, where, size, segments, categories, options, defects)
            count += 1
        if name is not None:
            maps.append((name, size, segments))
    defects.counted |= {'annotations': len(annotations), 'segments': count}
    if options.maps is not None:
        _check_maps(require_folder(options.maps, '--maps'), maps, options, defects)


def _segment(
    segment: dict[str, Any],
    place: str,
    size: Size | None,
    segments: set[int],
    categories: Mapping[int | str, str | None],
    options: CheckOptions,
    defects: Defects,
) -> None:
    identity = integer_field(segment, 'id', place, defects)
    if identity is not None and identity in segments:
        defects.add('duplicate-segment-id', place, f'id {identity} was used before')
    elif identity is not None:
        segments.add(identity)
    reference(segment, 'category', place, categories, defects)
    if options.objects and (box := field(segment, 'bbox', place, defects)) is not MISSING:
        check_box(box, size, place, options.box_slack, defects)


def _check_maps(
    folder: Path, maps: list[tuple[str, Size | None, set[int]]], options: CheckOptions, defects: Defects
) -> None:
    # mmdet's converter of ADE20K writes the pictures' names.
    names = [f'{splitext(name)[0]}.png' for name, _, _ in maps]
    facts = options.read((folder / name for name in names), 'segments')
    for name, (_, size, listed) in zip(names, maps, strict=True):
        fact = usable_map(name, facts[folder / name], folder, size, defects)
        if fact is None:
            continue
        shown = {value for value, _ in fact.pixels_of} - {NO_SEGMENT}
        for identity in sorted(shown - listed):
            defects.add('segment-not-listed', name, f'segment {identity} is not listed')
        for identity in sorted(listed - shown):
            defects.add('segment-not-in-map', name, f'segment {identity} has no pixel')
