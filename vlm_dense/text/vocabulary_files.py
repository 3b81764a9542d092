"""Files that hold words: plain text, tables, JSON lists, and annotations in COCO's or LVIS's layout."""

import codecs
import json
import mmap
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vlm_dense.errors import MissingFileError, VocabularyError
from vlm_dense.text.vocabulary_csv import read_csv
from vlm_dense.text.word_checks import printable
from vlm_dense.text.word_table import COLUMNS, WordTable, not_rare, tidy_synonyms

LARGE_BYTES = 32 << 20  # of larger annotations the categories alone are parsed: LVIS's have more than a gigabyte
_CATEGORIES = re.compile(rb'"categories"\s*:\s*(?=\[)')


def read_vocabulary_file(path: Path) -> WordTable:
    """Read words and their columns; nothing is checked yet.

    Args:
        path: A ``.json`` file, a ``.csv`` file, or a text file with one word per line; UTF-8 with or without byte
            order mark.

    Raises:
        MissingFileError: If there is no such file.
        VocabularyError: If the encoding or the layout is wrong.
    """
    # os.path says False where pathlib raises: a name that is too long, or that no file can have.
    if not os.path.isfile(path):
        raise MissingFileError(
            f"there is no vocabulary file '{printable(str(path))}'. Check the path (it starts at '{Path.cwd()}')."
        )
    try:
        if path.suffix.lower() == '.json':
            return _read_json(path)
        text = path.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise VocabularyError(f"'{path}' is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise VocabularyError(f"'{path}' cannot be read: {error.strerror}. Check its permissions.") from error
    return read_csv(text, path) if path.suffix.lower() == '.csv' else WordTable(path.name, _lines(text))


def _lines(text: str) -> list[str]:
    text = text.replace('\r\n', '\n').replace('\r', '\n').rstrip()
    return [line.strip() for line in text.split('\n')] if text else []


def _read_json(path: Path) -> WordTable:
    if path.stat().st_size > LARGE_BYTES:
        categories = _only_categories(path)
        if categories is not None:
            return _table_of_categories(categories, path)
    text = path.read_bytes().decode('utf-8-sig')
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise VocabularyError(
            f"'{path}' is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}). Correct that place."
        ) from error
    except (ValueError, RecursionError) as error:
        raise VocabularyError(f"'{path}' cannot be read as JSON ({error}). Write a list of strings.") from error
    return _table_of_json(content, path)


def _only_categories(path: Path) -> list[Any] | None:
    """The one list called "categories", or None where there is no such list, or more than one."""
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = [match.end() for match in _CATEGORIES.finditer(content)]
        return _list_at(content, found[0]) if len(found) == 1 else None


def _list_at(content: mmap.mmap, start: int) -> list[Any] | None:
    size = 1 << 16
    while True:
        try:
            # The cut may fall inside a character, which the decoder then leaves out.
            text = codecs.getincrementaldecoder('utf-8')().decode(content[start : start + size])
            return json.JSONDecoder().raw_decode(text)[0]
        except json.JSONDecodeError:  # the list goes on beyond the cut, or the file is damaged
            if start + size >= len(content):
                return None
        except (ValueError, RecursionError):  # the whole file is read instead, and says what is wrong with it
            return None
        size *= 4


def _table_of_json(content: Any, path: Path) -> WordTable:
    if isinstance(content, list):
        if content and isinstance(content[0], Mapping):
            return _table_of_categories(content, path)
        return WordTable(path.name, content)
    if isinstance(content, dict) and isinstance(content.get('words'), list):
        return _table_of_columns(content, path)
    if isinstance(content, dict) and isinstance(content.get('categories'), list):
        return _table_of_categories(content['categories'], path)
    raise VocabularyError(
        f"'{path}' holds no words. Write a list of strings, "
        '{"words": [...], "base": [...]}, or annotations with "categories".'
    )


def _table_of_columns(content: dict[str, Any], path: Path) -> WordTable:
    columns = {name: content[name] for name in COLUMNS if content.get(name) is not None}
    for key in content:
        # Other keys, such as a source or a licence, are the author's own.
        meant = get_close_matches(key, ('base', *COLUMNS), n=1, cutoff=0.8)
        if meant and key not in ('base', *COLUMNS):
            raise VocabularyError(f"'{path}' has a key '{key}'; did you mean '{meant[0]}'? Rename it.")
    unread = [key for key in ('seen', 'novel', 'unseen') if key in content and 'base' not in content]
    if unread:
        raise VocabularyError(
            f"'{path}' has '{unread[0]}' but no 'base'. List the words with boxes or masks as 'base'."
        )
    for name, column in columns.items():
        if not isinstance(column, list):
            raise VocabularyError(f"'{name}' of '{path}' must be a list with one entry per word.")
    base = content.get('base', not_rare(content['words'], columns.get('frequency', [])))
    if not (isinstance(base, list) and all(isinstance(word, str) for word in base)):
        raise VocabularyError(f"'base' of '{path}' must be a list of strings.")
    return WordTable(path.name, content['words'], base, **columns)


def _table_of_categories(categories: list[Any], path: Path) -> WordTable:
    for row, category in enumerate(categories, start=1):
        if not (isinstance(category, dict) and isinstance(category.get('name'), str)):
            raise VocabularyError(f"category {row} of '{path}' has no 'name'. Add one.")
    words = [category['name'] for category in categories]
    frequency = _all_or_none(categories, 'frequency', path)
    return WordTable(
        path.name,
        words,
        not_rare(words, frequency),
        synonyms=_synonyms(categories, path),
        definitions=[category.get('def') or None for category in categories],
        is_thing=_all_or_none(categories, 'isthing', path),
        frequency=frequency,
    )


def _synonyms(categories: list[dict], path: Path) -> list[list[str]]:
    lists = [category.get('synonyms') or [] for category in categories]
    for row, synonyms in enumerate(lists, start=1):
        if not (isinstance(synonyms, list) and all(isinstance(synonym, str) for synonym in synonyms)):
            raise VocabularyError(f"the 'synonyms' of category {row} of '{path}' must be a list of strings.")
    return [tidy_synonyms(category['name'], names) for category, names in zip(categories, lists, strict=True)]


def _all_or_none(categories: list[dict], key: str, path: Path) -> list[Any]:
    having = [key in category for category in categories]
    if any(having) and not all(having):
        raise VocabularyError(
            f"category {having.index(False) + 1} of '{path}' has no '{key}', but others have. Add it, or remove it "
            'everywhere.'
        )
    return [category[key] for category in categories] if all(having) else []
