"""What makes a word, a synonym, a definition or a flag usable; every refusal names its row."""

import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches

from vlm_dense.errors import VocabularyError

FREQUENCIES = ('r', 'c', 'f')  # LVIS (arXiv:1908.03195): rare, common, frequent
COLUMN_NAMES = {
    'is_base': 'base flags',
    'synonyms': 'lists of synonyms',
    'definitions': 'definitions',
    'is_thing': 'thing flags',
    'frequency': 'frequencies',
}

# Control characters other than tab and line ends, and halves of surrogate pairs, which UTF-8 cannot hold.
_UNWRITABLE = re.compile('[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]')


def normalise_word(word: str) -> str:
    """The form in which two words are compared: NFC, white space collapsed, case folded."""
    folded = unicodedata.normalize('NFC', word).casefold()
    return ' '.join(unicodedata.normalize('NFC', folded).split())


def check_words(words: Sequence[object], source: str) -> None:
    """Refuse an empty list, empty words, characters that cannot be written, and duplicates.

    Args:
        words: Candidate words; row numbers in messages count from 1.
        source: What the rows belong to, for the message.

    Raises:
        VocabularyError: Naming the rows and the source.
    """
    if not words:
        raise VocabularyError(f'{source} holds no words. Give at least one.')
    first_row: dict[str, int] = {}
    for row, word in enumerate(words, start=1):
        key = normalise_word(_checked_text(word, f'row {row} of {source}'))
        if key in first_row:
            earlier = first_row[key]
            raise VocabularyError(
                f"'{words[earlier - 1]}' and '{word}' are the same class after normalisation "
                f'(rows {earlier} and {row} of {source}). Remove one. Where rows may be left out, '
                'dedupe=True keeps the first of each.'
            )
        first_row[key] = row


def check_length(column: Sequence[object], name: str, words: Sequence[object]) -> None:
    """Refuse a column that has neither one entry per word nor none at all.

    Raises:
        VocabularyError: With both numbers.
    """
    if column and len(column) != len(words):
        raise VocabularyError(f'{len(words)} words came with {len(column)} {COLUMN_NAMES[name]}. Give one per word.')


def check_synonyms(words: Sequence[str], synonyms: Sequence[object], source: str) -> None:
    """Refuse synonyms that are no lists of strings, are empty, or repeat within their own word.

    Two words may share a synonym, and a word may be a synonym of another: vocabularies with 'bag' in several
    classes are common.

    Raises:
        VocabularyError: Naming the row and the source.
    """
    for row, (word, others) in enumerate(zip(words, synonyms, strict=True), start=1):
        if isinstance(others, str) or not isinstance(others, Sequence):
            raise VocabularyError(f'the synonyms in row {row} of {source} are {others!r}, not a list of strings.')
        seen = {normalise_word(word)}
        for synonym in others:
            key = normalise_word(_checked_text(synonym, f'a synonym in row {row} of {source}'))
            if key in seen:
                raise VocabularyError(
                    f"'{synonym}' stands twice among '{word}' and its synonyms (row {row} of {source}). Remove one."
                )
            seen.add(key)


def check_definitions(definitions: Sequence[object], source: str) -> None:
    """Refuse definitions that are neither None nor text.

    Raises:
        VocabularyError: Naming the row and the source.
    """
    for row, definition in enumerate(definitions, start=1):
        if definition is not None:
            _checked_text(definition, f'the definition in row {row} of {source}')


def check_flags(flags: Sequence[object], name: str, source: str) -> None:
    """Refuse flags that are neither true nor false (0 and 1 will do).

    Raises:
        VocabularyError: Naming the row and the source.
    """
    for row, flag in enumerate(flags, start=1):
        if isinstance(flag, str) or flag not in (0, 1):
            raise VocabularyError(f"'{name}' in row {row} of {source} is {flag!r}. Write true or false.")


def check_frequency(frequency: Sequence[object], source: str) -> None:
    """Refuse frequencies other than LVIS's 'r', 'c' and 'f'.

    Raises:
        VocabularyError: Naming the row and the source.
    """
    for row, letter in enumerate(frequency, start=1):
        if letter not in FREQUENCIES:
            raise VocabularyError(f"the frequency in row {row} of {source} is {letter!r}. Write 'r', 'c' or 'f'.")


def ending(word: str, words: Sequence[str]) -> str:
    """The end of a sentence about an unknown word: a full stop, or the closest of the known words as a question."""
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else '.'


def printable(text: str) -> str:
    """A text that any terminal can be sent: halves of surrogate pairs are written as escapes."""
    return text.encode('utf-8', 'backslashreplace').decode()


def _checked_text(text: object, place: str) -> str:
    if not isinstance(text, str):
        raise VocabularyError(f'{place} is {text!r}, not a string. Write it as text.')
    bad = _UNWRITABLE.search(text)
    if bad:
        kind = 'half of a surrogate pair' if '\ud800' <= bad.group() <= '\udfff' else 'a control character'
        raise VocabularyError(f'{place} holds {kind}, U+{ord(bad.group()):04X}. Remove it.')
    if not any(letter.isprintable() and not letter.isspace() for letter in text):
        raise VocabularyError(f'{place} is empty. Remove it.')
    return text
