"""ODVG: a picture per line, with named boxes or with phrases of a caption (mmdet's ``ODVGDataset``)."""

from typing import Any

from vlm_dense.datasets.annotation_checks.boxes import Size, check_box
from vlm_dense.datasets.annotation_checks.coco import picture_size
from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.files import PictureFiles
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.annotation_checks.records import (
    MISSING,
    check_words,
    field,
    integer_field,
    is_integer,
    records,
    text_field,
)
from vlm_dense.datasets.odvg_lines import boxes_of, places_of


class Labels:
    """Which number goes with which name, and where each name stands first."""

    def __init__(self) -> None:
        self.name_of: dict[int, str] = {}
        self.label_of: dict[str, int] = {}
        self.places: dict[str, str] = {}

    def add(self, label: int | None, name: str | None, place: str, defects: Defects) -> None:
        if name is not None:
            self.places.setdefault(name, place)
        if label is None or name is None:
            return
        known = self.name_of.setdefault(label, name)
        number = self.label_of.setdefault(name, label)
        if known != name or number != label:
            other = f"'{known}' had label {label}" if known != name else f'it had label {number}'
            defects.add('label-not-of-name', place, f"'{name}' has label {label}, but before {other}")


def check_odvg(lines: list[Any], options: CheckOptions, defects: Defects) -> None:
    """Check all lines, and picture files where their folder is given.

    Args:
        lines: What each line holds.
        options: Vocabulary, slack and folder.
        defects: Filled.
    """
    defects.format = 'ODVG lines'
    labels = Labels()
    first: dict[str, str] = {}
    wanted: dict[str, Size | None] = {}
    for place, record in records(lines, 'line', defects):
        name = text_field(record, 'filename', place, defects)
        size = picture_size(record, place, defects)
        caption = _objects(record, size, place, labels, options, defects)
        if name is None:
            continue
        wanted.setdefault(name, size)
        # Two people may have written the same caption.
        earlier = place if caption is not None else first.setdefault(name, place)
        if earlier != place:
            defects.add('duplicate-picture', place, f'{name} is {earlier} too')
    check_words(labels.places, options, False, defects)
    defects.counted |= {'lines': len(lines), 'names': len(labels.places)}
    if options.pictures is not None:
        PictureFiles(options, defects).check(wanted.items())


def _objects(
    record: dict[str, Any],
    size: Size | None,
    place: str,
    labels: Labels,
    options: CheckOptions,
    defects: Defects,
) -> str | None:
    """Check the boxes of a line; its caption, if it has one."""
    grounding = record.get('grounding')
    if isinstance(grounding, dict):
        caption = text_field(grounding, 'caption', place, defects)
        for where, region in records(grounding.get('regions'), f'{place}.regions', defects):
            _region(region, caption, size, where, options, defects)
        return caption
    detection = record.get('detection')
    if not isinstance(detection, dict):
        defects.add('missing-field', place, "has neither 'detection' nor 'grounding'")
        return None
    for where, instance in records(detection.get('instances'), f'{place}.instances', defects):
        label = integer_field(instance, 'label', where, defects)
        labels.add(label, text_field(instance, 'category', where, defects), where, defects)
        box = field(instance, 'bbox', where, defects)
        if box is not MISSING:
            check_box(box, size, where, options.box_slack, defects, is_xyxy=True)
    return None


def _region(
    region: dict[str, Any], caption: str | None, size: Size | None, place: str, options: CheckOptions, defects: Defects
) -> None:
    phrase = text_field(region, 'phrase', place, defects)
    spans = region.get('tokens_positive')
    if caption is not None and phrase is not None:
        if spans is None and not places_of(region, caption):
            defects.add('phrase-not-in-caption', place, f"'{phrase}' is not part of '{caption[:60]}'")
        elif spans is not None and not _spans_fit(spans, len(caption)):
            defects.add('phrase-not-in-caption', place, f'{str(spans)[:60]} is no part of {len(caption)} letters')
    if field(region, 'bbox', place, defects) is MISSING:
        return
    for box in boxes_of(region):
        check_box(box, size, place, options.box_slack, defects, is_xyxy=True)


def _spans_fit(spans: Any, letters: int) -> bool:
    return (
        isinstance(spans, list)
        and bool(spans)
        and all(isinstance(span, list) and len(span) == 2 and all(map(is_integer, span)) for span in spans)
        and all(0 <= start < end <= letters for start, end in spans)
    )
