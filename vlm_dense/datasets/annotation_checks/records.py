"""Fields, ids and names of records, whatever the format."""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.text.word_checks import normalise_word, printable

MISSING = object()
HINTS = 300  # names for which the closest word is looked up: each is compared with every word


def is_integer(value: Any) -> bool:
    """An int that is no bool."""
    return type(value) is int


def is_finite(value: Any) -> bool:
    """A finite int or float."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def records(entries: Any, where: str, defects: Defects) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a list with their places; whatever is no record is a defect."""
    if not isinstance(entries, list):
        defects.add('no-record', where, f'is {_short(entries)}, not a list')
        return
    for row, entry in enumerate(entries):
        if isinstance(entry, dict):
            yield f'{where}[{row}]', entry
        else:
            defects.add('no-record', f'{where}[{row}]', f'is {_short(entry)}, not an object')


def field(record: Mapping[str, Any], name: str, place: str, defects: Defects) -> Any:
    """A field, or `MISSING` and a defect."""
    value = record.get(name, MISSING)
    if value is MISSING:
        defects.add('missing-field', place, f"has no '{name}'")
    return value


def new_id(
    record: Mapping[str, Any], kind: str, place: str, seen: Container[int | str], defects: Defects
) -> int | str | None:
    """The id of an image, annotation or category if it can be used and is new."""
    identity = _identity(record, 'id', kind, place, defects)
    if identity is not None and identity in seen:
        defects.add(f'duplicate-{kind}-id', place, f'id {identity} was used before')
        return None
    return identity


def reference(
    record: Mapping[str, Any], kind: str, place: str, known: Container[int | str], defects: Defects
) -> int | str | None:
    """The image or category id that a record refers to if it can be used and is listed."""
    identity = _identity(record, f'{kind}_id', kind, place, defects)
    if identity is not None and identity not in known:
        defects.add(f'unknown-{kind}', place, f'{kind} {identity} is not listed')
        return None
    return identity


def _identity(record: Mapping[str, Any], name: str, kind: str, place: str, defects: Defects) -> int | str | None:
    value = record.get(name)
    # mmdet's files of ADE20K number pictures by their names.
    if kind == 'image' and isinstance(value, str) and value.strip():
        return value
    return integer_field(record, name, place, defects)


def integer_field(record: Mapping[str, Any], name: str, place: str, defects: Defects) -> int | None:
    """An integer field, or None and a defect."""
    value = field(record, name, place, defects)
    if value is MISSING:
        return None
    if not is_integer(value):
        defects.add('id-not-integer', place, f"'{name}' is {_short(value)}")
        return None
    return int(value)


def text_field(record: Mapping[str, Any], name: str, place: str, defects: Defects) -> str | None:
    """A field with a text that is not blank, or None and a defect."""
    value = field(record, name, place, defects)
    if value is MISSING:
        return None
    if not isinstance(value, str) or not value.strip():
        defects.add('name-not-text', place, f"'{name}' is {_short(value)}")
        return None
    return value


def check_distinct(names: Sequence[tuple[str, str]], defects: Defects) -> None:
    """Report names (with their places) that are the same class after normalisation."""
    first: dict[str, str] = {}
    for place, name in names:
        earlier = first.setdefault(normalise_word(name), place)
        if earlier != place:
            defects.add('duplicate-name', place, f"'{printable(name)}' is the name of {earlier} too")


def check_words(names: Mapping[str, str], options: CheckOptions, all_words: bool, defects: Defects) -> None:
    """Compare names with the vocabulary, if the options have one; see `compare_names`."""
    if options.vocabulary is not None:
        compare_names(names, options.vocabulary.words, options.other_categories == 'drop', all_words, defects)


def compare_names(
    names: Mapping[str, str], words: Sequence[str], drop_others: bool, all_words: bool, defects: Defects
) -> None:
    """Compare names with words, letter by letter as the data sets do.

    A misspelt name is one defect: the word that it stands for is not reported as missing from the file too.

    Args:
        names: Where each name stands first.
        words: What the names should be.
        drop_others: Whether to pass over other names.
        all_words: Whether the file should name every word.
        defects: Filled.
    """
    missing = [word for word in words if word not in names]
    folded = {normalise_word(word): word for word in words}
    known = set(words)
    unknown = [(name, place) for name, place in names.items() if name not in known]
    for row, (name, place) in enumerate(unknown):
        close = _closest(name, missing, folded) if row < HINTS else None
        if close in missing:
            missing.remove(close)
        elif drop_others:
            continue
        hint = f", the closest word is '{close}'" if close else ', no word is close' if row < HINTS else ''
        defects.add('name-not-in-vocabulary', place, f"'{printable(name)}' is no word{hint}")
    for word in missing if all_words else ():
        defects.add('word-not-in-file', f"'{word}'", 'is the name of nothing in the file')


def _closest(name: str, missing: Sequence[str], folded: Mapping[str, str]) -> str | None:
    same = folded.get(normalise_word(name))
    if same is not None:
        return same
    # A word that the file lacks is the likelier meaning of a misspelt name.
    for candidates in (missing, list(folded.values())):
        close = get_close_matches(name, candidates, n=1, cutoff=0.7)
        if close:
            return close[0]
    return None


def _short(value: Any) -> str:
    shown = printable(repr(value))
    return shown if len(shown) <= 60 else f'{shown[:57]}...'
