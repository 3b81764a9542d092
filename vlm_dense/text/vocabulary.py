"""The words of one request, in the caller's order.

A vocabulary travels with the request and never lives in a model: labels are indices into ``words``, and results
carry the caller's own strings. ``is_base`` says which words had boxes or masks in training (base and novel in
detection, seen and unseen in segmentation).
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from vlm_dense.errors import VocabularyError
from vlm_dense.text.vocabulary_files import read_vocabulary_file

IN_MEMORY = 'the list of words'
BUILD_KEYS = ('words', 'file', 'base', 'only')


@dataclass(frozen=True)
class Vocabulary:
    """Words and, for each, whether it had boxes or masks in training.

    Words are compared after Unicode NFC, collapsed white space and case folding; the strings themselves are kept
    as they were given.

    Raises:
        VocabularyError: If there is no word, a word is empty, or two words are the same class.
    """

    words: tuple[str, ...]
    is_base: tuple[bool, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, 'words', tuple(self.words))
        object.__setattr__(self, 'is_base', tuple(bool(flag) for flag in self.is_base))
        check_words(self.words, IN_MEMORY)
        if len(self.words) != len(self.is_base):
            raise VocabularyError(
                f'{len(self.words)} words came with {len(self.is_base)} base flags. Give one flag per word.'
            )

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the words, their order and their flags, as 64 hex digits."""
        content = json.dumps([self.words, self.is_base], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def index(self, word: str) -> int:
        """Position of a word, compared as duplicates are.

        Raises:
            VocabularyError: If the word is not in the vocabulary; a close one is suggested.
        """
        row = self._rows.get(normalise_word(word))
        if row is None:
            raise VocabularyError(f"'{word}' is not among the {len(self)} words{_closest(word, self.words)}.")
        return row

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {normalise_word(word): row for row, word in enumerate(self.words)}

    def select(self, is_base: bool) -> 'Vocabulary':
        """Keep the base words only, or the novel words only, in their order.

        Raises:
            VocabularyError: If no word is left.
        """
        words = [word for word, flag in zip(self.words, self.is_base, strict=True) if flag == is_base]
        if not words:
            kind = 'base' if is_base else 'novel'
            raise VocabularyError(f'none of the {len(self)} words is {kind}. Check the list of base words.')
        return Vocabulary(tuple(words), (is_base,) * len(words))

    @classmethod
    def from_words(cls, words: Iterable[str], base: Iterable[str] | str = ()) -> 'Vocabulary':
        """Make a vocabulary from strings.

        Args:
            words: One string per class.
            base: The words that had boxes or masks in training; a string is the path of a file that lists them.

        Raises:
            VocabularyError: If the words cannot be used or a base word is not among them.
        """
        return _from_words(words, base, IN_MEMORY)

    @classmethod
    def from_file(cls, path: str | PathLike[str], base: Iterable[str] | str = ()) -> 'Vocabulary':
        """Read a vocabulary.

        ``.txt`` holds one word per line. ``.json`` holds a list of strings, or ``{"words": [...], "base": [...]}``,
        or annotations in COCO's or LVIS's layout (the names of ``categories`` in the file's order; with LVIS's
        ``frequency`` the words that are not rare ('r') are base).

        Args:
            path: The file, UTF-8.
            base: As in `from_words`; where given it replaces what the file says.

        Raises:
            MissingFileError: If there is no such file.
            VocabularyError: If it cannot be read as words; the message names the rows.
        """
        words, base_in_file = read_vocabulary_file(Path(path))
        chosen = base if base else base_in_file
        return _from_words(words, chosen, Path(path).name)

    @classmethod
    def build(cls, spec: Any) -> 'Vocabulary':
        """Make a vocabulary from what a config may hold.

        Args:
            spec: A `Vocabulary`, a sequence of words, a path, or a dict with ``words`` or ``file`` and optionally
                ``base`` and ``only`` ('base' or 'novel' keeps just these).

        Raises:
            MissingFileError: If a file is named that does not exist.
            VocabularyError: If the specification or its words cannot be used.
        """
        if isinstance(spec, Vocabulary):
            return spec
        if isinstance(spec, str | PathLike):
            return cls.from_file(spec)
        if isinstance(spec, Mapping):
            return _from_mapping(spec)
        if isinstance(spec, Sequence):
            return cls.from_words(spec)
        raise VocabularyError(
            f'a vocabulary cannot be made from {type(spec).__name__}. Give a list of words, a path or a dict.'
        )


def normalise_word(word: str) -> str:
    """The form in which two words are compared: NFC, white space collapsed, case folded."""
    folded = unicodedata.normalize('NFC', word).casefold()
    return ' '.join(unicodedata.normalize('NFC', folded).split())


def check_words(words: Sequence[object], source: str) -> None:
    """Refuse an empty list, empty words and duplicates.

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
        if not isinstance(word, str):
            raise VocabularyError(f'row {row} of {source} is {word!r}, not a string. Write it as text.')
        key = normalise_word(word)
        if not any(letter.isprintable() and not letter.isspace() for letter in key):
            raise VocabularyError(f'row {row} of {source} is empty. Remove it.')
        if key in first_row:
            earlier = first_row[key]
            raise VocabularyError(
                f"'{words[earlier - 1]}' and '{word}' are the same class after normalisation "
                f'(rows {earlier} and {row} of {source}). Remove one.'
            )
        first_row[key] = row


def _from_words(words: Iterable[str], base: Iterable[str] | str, source: str) -> Vocabulary:
    if isinstance(words, str):
        raise VocabularyError(f"one string, '{words}', was given where a list of words belongs. Write ['{words}'].")
    chosen = tuple(words)
    check_words(chosen, source)
    if isinstance(base, str | PathLike):
        base, _ = read_vocabulary_file(Path(base))
    base_keys = {normalise_word(word): word for word in base}
    keys = [normalise_word(word) for word in chosen]
    strangers = [word for key, word in base_keys.items() if key not in set(keys)]
    if strangers:
        shown = ', '.join(f"'{word}'" for word in strangers[:5]) + (', ...' if len(strangers) > 5 else '')
        raise VocabularyError(
            f'{len(strangers)} base word(s) are not in {source}: {shown}{_closest(strangers[0], chosen)}. '
            'Base words must be among the words.'
        )
    return Vocabulary(chosen, tuple(key in base_keys for key in keys))


def _from_mapping(spec: Mapping[str, Any]) -> Vocabulary:
    unknown = [key for key in spec if key not in BUILD_KEYS]
    if unknown:
        raise VocabularyError(f"unknown key '{unknown[0]}' in the vocabulary; the keys are {', '.join(BUILD_KEYS)}.")
    if ('words' in spec) == ('file' in spec):
        raise VocabularyError("a vocabulary takes either 'words' or 'file', and one of them is needed.")
    only = spec.get('only')
    if only not in (None, 'base', 'novel'):
        raise VocabularyError(f"only='{only}' in the vocabulary: write 'base' or 'novel'.")
    base = spec.get('base') or ()
    if 'file' in spec:
        vocabulary = Vocabulary.from_file(spec['file'], base)
    else:
        vocabulary = Vocabulary.from_words(spec['words'], base)
    return vocabulary if only is None else vocabulary.select(is_base=only == 'base')


def _closest(word: str, words: Sequence[str]) -> str:
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ''
