"""Files that hold words: plain text, JSON lists, and annotations in COCO's or LVIS's layout."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm_dense.errors import MissingFileError, VocabularyError

RARE = 'r'  # LVIS v1 (arXiv:1908.03195): categories of at most 10 training images, held out as novel


def read_vocabulary_file(path: Path) -> tuple[Sequence[Any], Sequence[str]]:
    """Read words and base words; the words are not checked yet.

    Args:
        path: A ``.json`` file or a text file with one word per line, UTF-8 with or without byte order mark.

    Raises:
        MissingFileError: If there is no such file.
        VocabularyError: If the encoding or the layout is wrong.
    """
    text = _read_text(path)
    if path.suffix.lower() != '.json':
        return _lines(text), ()
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise VocabularyError(
            f"'{path}' is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}). Correct that place."
        ) from error
    return _words_of_json(content, path)


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise MissingFileError(f"there is no vocabulary file '{path}'. Check the path (it starts at '{Path.cwd()}').")
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise VocabularyError(f"'{path}' is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise VocabularyError(f"'{path}' cannot be read: {error.strerror}. Check its permissions.") from error


def _lines(text: str) -> list[str]:
    text = text.rstrip()
    return [line.strip() for line in text.split('\n')] if text else []


def _words_of_json(content: Any, path: Path) -> tuple[Sequence[Any], Sequence[str]]:
    if isinstance(content, list):
        return content, ()
    if isinstance(content, dict) and isinstance(content.get('words'), list):
        base = content.get('base', [])
        if not (isinstance(base, list) and all(isinstance(word, str) for word in base)):
            raise VocabularyError(f"'base' of '{path}' must be a list of strings.")
        return content['words'], base
    if isinstance(content, dict) and isinstance(content.get('categories'), list):
        return _words_of_categories(content['categories'], path)
    raise VocabularyError(
        f"'{path}' holds no words. Write a list of strings, "
        '{"words": [...], "base": [...]}, or annotations with "categories".'
    )


def _words_of_categories(categories: list[Any], path: Path) -> tuple[Sequence[Any], Sequence[str]]:
    for row, category in enumerate(categories, start=1):
        if not (isinstance(category, dict) and isinstance(category.get('name'), str)):
            raise VocabularyError(f"category {row} of '{path}' has no 'name'. Add one.")
    words = [category['name'] for category in categories]
    base = [category['name'] for category in categories if category.get('frequency', RARE) != RARE]
    return words, base
