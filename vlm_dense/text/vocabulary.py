"""The words of one request, in the caller's order.

A vocabulary travels with the request and never lives in a model: labels are indices into ``words``, and results
carry the caller's own strings. ``is_base`` says which words had boxes or masks in training (base and novel in
detection, seen and unseen in segmentation).
"""

import hashlib
import json
import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from vlm_dense.errors import VocabularyError
from vlm_dense.text import vocabulary_spec
from vlm_dense.text.dataset_vocabularies import read_dataset
from vlm_dense.text.vocabulary_files import read_vocabulary_file
from vlm_dense.text.word_checks import check_flags, check_length, ending, normalise_word, printable
from vlm_dense.text.word_table import COLUMNS, WordTable

IN_MEMORY = 'the list of words'


@dataclass(frozen=True)
class Vocabulary:
    """Words and, for each, whether it had boxes or masks in training, and what else is known of it.

    Words are compared after Unicode NFC, collapsed white space and case folding; the strings themselves are kept
    as they were given. The optional columns have one entry per word, or none; a column without content is ``()``.

    Args:
        words: One string per class.
        is_base: Whether the word had boxes or masks in training.
        synonyms: Other names of each word, without the word itself. Words may share synonyms.
        definitions: What each word means, or None.
        is_thing: Whether the word is counted (a thing) or fills areas (stuff).
        frequency: LVIS's 'r' (rare), 'c' (common) or 'f' (frequent).

    Raises:
        VocabularyError: If there is no word, a word is empty, holds characters that UTF-8 or a terminal cannot, or
            is the same class as another; or if a column's length or content is wrong.
    """

    words: tuple[str, ...]
    is_base: tuple[bool, ...]
    synonyms: tuple[tuple[str, ...], ...] = ()
    definitions: tuple[str | None, ...] = ()
    is_thing: tuple[bool, ...] = ()
    frequency: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ('words', 'is_base', *COLUMNS):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        columns = {name: getattr(self, name) for name in COLUMNS}
        WordTable(IN_MEMORY, self.words, **columns).check()
        if not self.is_base:
            raise VocabularyError(f'{len(self.words)} words came with 0 base flags. Give one per word.')
        check_length(self.is_base, 'is_base', self.words)
        check_flags(self.is_base, 'is_base', IN_MEMORY)
        object.__setattr__(self, 'is_base', tuple(bool(flag) for flag in self.is_base))
        object.__setattr__(self, 'is_thing', tuple(bool(flag) for flag in self.is_thing))
        object.__setattr__(self, 'synonyms', tuple(map(tuple, self.synonyms)) if any(self.synonyms) else ())
        object.__setattr__(self, 'definitions', self.definitions if any(self.definitions) else ())

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the words, their order, their flags and the columns that are there, as 64 hex digits."""
        columns = {name: getattr(self, name) for name in COLUMNS if getattr(self, name)}
        content = json.dumps([self.words, self.is_base, *([columns] if columns else [])], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def index(self, word: str) -> int:
        """Position of a word, compared as duplicates are; synonyms are not looked at, since words may share them.

        Raises:
            VocabularyError: If the word is not in the vocabulary; a close one is suggested.
        """
        row = self._rows.get(normalise_word(word))
        if row is None:
            raise VocabularyError(f"'{printable(word)}' is not among the {len(self)} words{ending(word, self.words)}")
        return row

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {normalise_word(word): row for row, word in enumerate(self.words)}

    @cached_property
    def base_keys(self) -> frozenset[str]:
        """The base words, as words are compared (`vlm_dense.text.word_checks.normalise_word`)."""
        flagged = zip(self.words, self.is_base, strict=True)
        return frozenset(normalise_word(word) for word, is_base in flagged if is_base)

    def names(self, row: int) -> tuple[str, ...]:
        """The word of a row, then its synonyms."""
        return (self.words[row], *(self.synonyms[row] if self.synonyms else ()))

    def definition(self, row: int) -> str | None:
        """What the word of a row means, or None where nobody said."""
        return self.definitions[row] if self.definitions else None

    def take(self, rows: Iterable[int]) -> 'Vocabulary':
        """Keep some rows with all that belongs to them, in the order given.

        Args:
            rows: Positions from 0, each at most once.

        Raises:
            VocabularyError: If no row is given, one is given twice, or one is no position in the vocabulary.
        """
        chosen = [self._position(row) for row in rows]
        columns = {name: getattr(self, name) for name in ('words', 'is_base', *COLUMNS)}
        return replace(
            self, **{name: tuple(column[row] for row in chosen) for name, column in columns.items() if column}
        )

    def _position(self, row: int) -> int:
        if isinstance(row, bool) or not hasattr(row, '__index__') or not 0 <= operator.index(row) < len(self):
            raise VocabularyError(f'{row!r} is no row of a vocabulary of {len(self)}. Give numbers from 0.')
        return operator.index(row)

    def select(self, is_base: bool) -> 'Vocabulary':
        """Keep the base words only, or the novel words only, in their order.

        Raises:
            VocabularyError: If no word is left.
        """
        rows = [row for row, flag in enumerate(self.is_base) if flag == is_base]
        if not rows:
            kind = 'base' if is_base else 'novel'
            raise VocabularyError(f'none of the {len(self)} words is {kind}. Check the list of base words.')
        return self.take(rows)

    def seen_in(self, trained: 'Vocabulary') -> 'Vocabulary':
        """Flag as base the words of which one name is, letter by letter, a name in the training.

        Source: the release of FC-CLIP (arXiv:2308.02487), for classes of a data set that was not trained on.

        Args:
            trained: The words that had boxes or masks in training, with their synonyms.
        """
        known = {name for row in range(len(trained)) for name in trained.names(row)}
        flags = tuple(not known.isdisjoint(self.names(row)) for row in range(len(self)))
        return replace(self, is_base=flags)

    def as_spec(self) -> dict[str, list]:
        """Plain lists from which `build` makes the same vocabulary; for configs, and for JSON files."""
        base = [word for word, flag in zip(self.words, self.is_base, strict=True) if flag]
        spec: dict[str, list] = dict(words=list(self.words), base=base)
        for name in COLUMNS:
            if getattr(self, name):
                spec[name] = [list(entry) if isinstance(entry, tuple) else entry for entry in getattr(self, name)]
        return spec

    @classmethod
    def from_words(
        cls, words: Iterable[str], base: Iterable[str] | str = (), *, dedupe: bool = False, **columns: Any
    ) -> 'Vocabulary':
        """Make a vocabulary from strings.

        Args:
            words: One string per class.
            base: The words that had boxes or masks in training; a string is the path of a file that lists them.
            dedupe: Keep the first of words that are the same class, with its columns, and leave out the others.
            columns: ``synonyms``, ``definitions``, ``is_thing`` and ``frequency``: one entry per word.

        Raises:
            VocabularyError: If the words or a column cannot be used, or a base word is not among the words.
        """
        return cls._from_table(vocabulary_spec.table_of_words(words, columns, IN_MEMORY), base, dedupe)

    @classmethod
    def from_file(
        cls,
        path: str | PathLike[str],
        base: Iterable[str] | str = (),
        *,
        synonym_separator: str | None = None,
        numbered: bool = False,
        dedupe: bool = False,
    ) -> 'Vocabulary':
        """Read a vocabulary.

        ``.csv`` has a header (see `vlm_dense.text.vocabulary_csv.read_csv`). ``.json`` holds a list of strings, or
        ``{"words": [...], "base": [...]}`` with optional columns of this class, or annotations in COCO's or LVIS's
        layout: the names of ``categories`` in the file's order, with ``synonyms``, ``def``, ``isthing`` and
        ``frequency`` where they are. Any other file holds one word per line. Where a file has frequencies and does
        not say which words are base, those that are not rare ('r') are.

        Args:
            path: The file, UTF-8.
            base: As in `from_words`; where given it replaces what the file says.
            synonym_separator: What stands between a word and its synonyms, such as ',' in 'person, child'. Without it
                such a row is one word.
            numbered: Whether every row starts with a number and a colon, as in OpenSeg's '12:person, child'. Rows
                that say 'invalid_class_id' are left out.
            dedupe: As in `from_words`.

        Raises:
            MissingFileError: If there is no such file.
            VocabularyError: If it cannot be read as words; the message names the rows.
        """
        table = read_vocabulary_file(Path(path))
        if numbered:
            table = table.without_numbers()
        return cls._from_table(vocabulary_spec.split(table, synonym_separator), base, dedupe)

    @classmethod
    def from_dataset(
        cls,
        name: str,
        base: Iterable[str] | str = (),
        *,
        synonym_separator: str | None = None,
        dedupe: bool = False,
    ) -> 'Vocabulary':
        """Take the words of a data set that mmdet or mmseg knows, as they are spelled there.

        Args:
            name: A key of `vlm_dense.text.dataset_vocabularies.DATASETS`, such as 'coco' or 'LVIS-v1'; case, '-' and
                '_' do not count.
            base: As in `from_words`.
            synonym_separator: As in `from_file`; ',' for 'ade20k_panoptic'.
            dedupe: As in `from_words`; 'openimages_challenge' has 'Mouse' and 'Bench' twice.

        Raises:
            VocabularyError: If the name is unknown or the installed mmdet or mmseg lacks it.
        """
        return cls._from_table(vocabulary_spec.split(read_dataset(name), synonym_separator), base, dedupe)

    @classmethod
    def build(cls, spec: Any) -> 'Vocabulary':
        """Make a vocabulary from what a config may hold.

        Args:
            spec: A `Vocabulary`, a sequence of words, a path, a data set's name, or a dict with ``words``, ``file`` or
                ``dataset``, with the arguments of `from_words`, `from_file` or `from_dataset`, and optionally ``only``
                ('base' or 'novel' keeps just these) and ``seen_in``, which stands in place of ``base``: what the words
                of the training are made from, see `seen_in`. A name that is also a file in the working folder is
                refused: write './name' or ``dict(dataset='name')``.

        Raises:
            MissingFileError: If a file is named that does not exist.
            VocabularyError: If the specification or its words cannot be used.
        """
        if isinstance(spec, Vocabulary):
            return spec
        source, argument, options = vocabulary_spec.read_spec(spec)
        only, trained = options.pop('only', None), options.pop('seen_in', None)
        make = {'words': cls.from_words, 'file': cls.from_file, 'dataset': cls.from_dataset}[source]
        vocabulary = make(argument, **options)  # type: ignore[operator]
        if trained is not None:
            vocabulary = vocabulary.seen_in(cls.build(trained))
        return vocabulary if only is None else vocabulary.select(is_base=only == 'base')

    @classmethod
    def _from_table(cls, table: WordTable, base: Iterable[str] | str, dedupe: bool) -> 'Vocabulary':
        if dedupe:
            table = table.without_duplicates()
        table.check()
        flags = vocabulary_spec.base_flags(table, base)
        return cls(tuple(table.words), flags, **{name: tuple(getattr(table, name)) for name in COLUMNS})
