"""Words and their columns in a table with a header, separated by commas."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm_dense.errors import VocabularyError
from vlm_dense.text.word_checks import ending
from vlm_dense.text.word_table import WordTable, not_rare, tidy_synonyms

# Column of the file -> what it holds.
HEADERS = {
    'word': 'words',
    'name': 'words',
    'synonyms': 'synonyms',
    'definition': 'definitions',
    'def': 'definitions',
    'base': 'base',
    'seen': 'base',
    'novel': 'novel',
    'unseen': 'novel',
    'thing': 'is_thing',
    'isthing': 'is_thing',
    'is_thing': 'is_thing',
    'frequency': 'frequency',
}
FLAGS = {'1': True, 'true': True, 'yes': True, '0': False, 'false': False, 'no': False}


def read_csv(text: str, path: Path) -> WordTable:
    """Read a table; nothing but its layout is checked.

    The header names the columns, in any order: ``word`` or ``name``; ``synonyms``, with ';' or '|' between them;
    ``definition``; ``base`` or ``seen``, or the reverse, ``novel`` or ``unseen``; ``thing``; ``frequency``. Flags are
    written 1, true or yes, and 0, false or no. White space around a cell does not count. Where frequencies stand
    without flags, words that are not rare ('r') are base.

    Args:
        text: The whole file.
        path: For messages.

    Raises:
        VocabularyError: If the header, a row or a flag cannot be understood.
    """
    rows = _rows(text, path)
    columns = _columns(rows[0] if rows else [], path)
    body = rows[1:]
    cells: dict[str, list[Any]] = {
        name: [row[position].strip() if row else '' for row in body] for name, position in columns.items()
    }
    words = cells['words']
    source = f'{path.name} below its header'
    if 'synonyms' in cells:
        cells['synonyms'] = [
            tidy_synonyms(word, [name.strip() for name in re.split('[;|]', cell) if name.strip()])
            for word, cell in zip(words, cells['synonyms'], strict=True)
        ]
    if 'definitions' in cells:
        cells['definitions'] = [cell or None for cell in cells['definitions']]
    for name in {'base', 'novel', 'is_thing'} & cells.keys():
        cells[name] = _flags(cells[name], rows[0][columns[name]].strip(), source)
    cells['base'] = _base_words(words, cells)
    cells.pop('novel', None)
    return WordTable(source, **cells)


def _rows(text: str, path: Path) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=''), strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if not (rows or row):
                continue
            if row and rows and len(row) != len(rows[0]):
                raise VocabularyError(
                    f"line {reader.line_num} of '{path}' has {len(row)} cells where the header has {len(rows[0])}. "
                    'Put double quotes around a cell that holds commas.'
                )
            rows.append(row)
    except csv.Error as error:
        raise VocabularyError(f"line {reader.line_num} of '{path}' is not CSV ({error}). Correct it.") from error
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    return rows


def _columns(header: Sequence[str], path: Path) -> dict[str, int]:
    columns: dict[str, int] = {}
    for position, title in enumerate(header):
        name = title.strip().casefold()
        if name not in HEADERS:
            raise VocabularyError(
                f"'{path}' has a column '{title}'{ending(name, list(HEADERS))} The first line names the columns, "
                f'separated by commas; known are {", ".join(HEADERS)}.'
            )
        if HEADERS[name] in columns:
            raise VocabularyError(
                f"'{path}' has the columns '{header[columns[HEADERS[name]]]}' and '{title}', which say the same. "
                'Remove one.'
            )
        columns[HEADERS[name]] = position
    if 'words' not in columns:
        raise VocabularyError(f"'{path}' has no column 'word' or 'name'. Name one so in the first line.")
    if 'base' in columns and 'novel' in columns:
        raise VocabularyError(f"'{path}' marks both base and novel words. Remove one of the two columns.")
    return columns


def _flags(cells: Sequence[str], title: str, source: str) -> list[bool]:
    for row, cell in enumerate(cells, start=1):
        if cell.casefold() not in FLAGS:
            raise VocabularyError(f"'{title}' in row {row} of {source} is '{cell}'. Write one of {', '.join(FLAGS)}.")
    return [FLAGS[cell.casefold()] for cell in cells]


def _base_words(words: Sequence[str], cells: dict[str, list[Any]]) -> list[str]:
    if 'base' in cells:
        return [word for word, flag in zip(words, cells['base'], strict=True) if flag]
    if 'novel' in cells:
        return [word for word, flag in zip(words, cells['novel'], strict=True) if not flag]
    return not_rare(words, cells.get('frequency', []))
