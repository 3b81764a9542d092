"""Annotation files as they lie on the disk, and which format they have."""

import json
from pathlib import Path
from typing import Any

from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.errors import DataError, MissingFileError

FORMATS = (
    'COCO, LVIS or panoptic json (an object with images and annotations), PhraseCut json (a list of tasks with '
    'Polygons), ODVG lines, words (an object with a list of words), or a folder of label maps'
)
EXTRA = 'Extra data'  # what json says of lines behind a whole first one


def read_content(path: Path, defects: Defects) -> Any:
    """The content of a json file, or the list of what its lines hold.

    Raises:
        MissingFileError: If the file does not exist.
        DataError: If it is not json.
    """
    if not path.is_file():
        raise MissingFileError(f"annotation file '{path}' does not exist. Name a file, or a folder of label maps.")
    try:
        text = path.read_text(encoding='utf-8')
        if path.suffix == '.jsonl':
            return _lines(text, defects)
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == EXTRA and _is_line(text):
            return _lines(text, defects)
        raise DataError(f"'{path}' is not json ({error}). Give {FORMATS}.") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, endless digits, endless brackets
        raise DataError(f"'{path}' is not json ({error}). Give {FORMATS}.") from error


def kind_of(content: Any) -> str | None:
    """``'coco'``, ``'odvg'``, ``'phrases'`` or ``'words'``; None if it is none of them."""
    if isinstance(content, dict):
        if 'images' in content and 'annotations' in content:
            return 'coco'
        return 'words' if 'words' in content else None
    first = next((entry for entry in content if isinstance(entry, dict)), None) if isinstance(content, list) else None
    if first is None:
        return None
    if 'Polygons' in first:
        return 'phrases'
    return 'odvg' if 'filename' in first or 'grounding' in first or 'detection' in first else None


def _is_line(text: str) -> bool:
    try:
        return isinstance(json.loads(text.split('\n', 1)[0]), dict)
    except json.JSONDecodeError:
        return False


def _lines(text: str, defects: Defects) -> list[Any]:
    entries = []
    for row, line in enumerate(text.split('\n')):
        if not line.strip():
            continue
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            defects.add('no-record', f'line[{row}]', f'is not json ({error.msg})')
    return entries
