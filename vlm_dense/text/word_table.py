"""Columns of words as a source gives them, before anything is checked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlm_dense.errors import VocabularyError
from vlm_dense.text.word_checks import (
    check_definitions,
    check_flags,
    check_frequency,
    check_length,
    check_synonyms,
    check_words,
    normalise_word,
)

COLUMNS = ('synonyms', 'definitions', 'is_thing', 'frequency')
NO_CLASS = 'invalid_class_id'  # how OpenSeg's and FC-CLIP's numbered lists call a number without a class
RARE = 'r'  # LVIS v1 (arXiv:1908.03195): categories of at most 10 training images, held out as novel
_NUMBER = re.compile(r'\s*\d+\s*:')


@dataclass(frozen=True)
class WordTable:
    """K candidate words and their columns, each of K entries or empty.

    Args:
        source: What the rows belong to, for messages.
        words: One entry per class.
        base: The names of the base words, in any order.
    """

    source: str
    words: Sequence[Any]
    base: Sequence[str] = ()
    synonyms: Sequence[Any] = ()
    definitions: Sequence[Any] = ()
    is_thing: Sequence[Any] = ()
    frequency: Sequence[Any] = ()

    def check(self) -> None:
        """Refuse words and columns that cannot be used.

        Raises:
            VocabularyError: Naming the row and the source.
        """
        check_words(self.words, self.source)
        for name in COLUMNS:
            check_length(getattr(self, name), name, self.words)
        if self.synonyms:
            check_synonyms(self.words, self.synonyms, self.source)
        check_definitions(self.definitions, self.source)
        check_flags(self.is_thing, 'is_thing', self.source)
        check_frequency(self.frequency, self.source)

    def without_numbers(self) -> 'WordTable':
        """Take the leading '12:' off every word, and leave out rows that only say that a number has no class.

        Raises:
            VocabularyError: If a word has no number.
        """
        words = []
        for row, word in enumerate(self.words, start=1):
            number = _NUMBER.match(str(word))
            if number is None:
                raise VocabularyError(
                    f"row {row} of {self.source} is '{word}', without a number and a colon. Write '{row}:{word}', "
                    'or leave out numbered=True.'
                )
            words.append(word[number.end() :].strip())
        kept = [row for row, word in enumerate(words) if word != NO_CLASS]
        source = self.source if len(kept) == len(words) else f"{self.source} without its rows '{NO_CLASS}'"
        return replace(self, source=source, words=words)._take(kept)

    def with_split_synonyms(self, separator: str) -> 'WordTable':
        """Read every word as a name and its synonyms; repeats within a row are left out.

        Raises:
            VocabularyError: If the separator is empty, a name is, or the source lists synonyms already.
        """
        if not isinstance(separator, str) or not separator:
            raise VocabularyError(
                f"synonym_separator is {separator!r}. Write the character between names, such as ','."
            )
        if self.synonyms:
            raise VocabularyError(f'{self.source} lists its synonyms already. Leave out synonym_separator.')
        rows = [[name.strip() for name in str(word).split(separator)] for word in self.words]
        for row, names in enumerate(rows, start=1):
            if '' in names:
                raise VocabularyError(
                    f"row {row} of {self.source} has an empty name: '{self.words[row - 1]}'. "
                    f"Remove the spare '{separator}'."
                )
        words = [names[0] for names in rows]
        return replace(self, words=words, synonyms=[tidy_synonyms(names[0], names[1:]) for names in rows])

    def without_duplicates(self) -> 'WordTable':
        """Keep the first row of words that are the same class."""
        first_row: dict[object, int] = {}
        for row, word in enumerate(self.words):
            first_row.setdefault(normalise_word(word) if isinstance(word, str) else row, row)
        return self._take(list(first_row.values()))

    def _take(self, rows: Sequence[int]) -> 'WordTable':
        columns: dict[str, Any] = {}
        for name in COLUMNS:
            column = getattr(self, name)
            check_length(column, name, self.words)
            columns[name] = [column[row] for row in rows] if column else ()
        return replace(self, words=[self.words[row] for row in rows], **columns)


def tidy_synonyms(word: str, synonyms: Sequence[str]) -> list[str]:
    """Synonyms without the word itself and without repeats, in their order; LVIS lists the word among them."""
    first = {normalise_word(word): word}
    for synonym in synonyms:
        first.setdefault(normalise_word(synonym), synonym)
    return list(first.values())[1:]


def not_rare(words: Sequence[str], frequency: Sequence[object]) -> list[str]:
    """The base words of a list in LVIS's protocol: those whose frequency is not 'r'; none without frequencies."""
    return [word for word, letter in zip(words, frequency, strict=False) if letter != RARE]
