"""What a config or a caller may write where a vocabulary belongs, turned into a source and its options."""

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from os import PathLike
from pathlib import Path
from typing import Any

from vlm_dense.errors import MissingFileError, VocabularyError
from vlm_dense.text.dataset_vocabularies import is_dataset, suggest_dataset
from vlm_dense.text.vocabulary_files import read_vocabulary_file
from vlm_dense.text.word_checks import ending, normalise_word, printable
from vlm_dense.text.word_table import COLUMNS, WordTable

SOURCE_OPTIONS = {
    'words': COLUMNS,
    'file': ('synonym_separator', 'numbered'),
    'dataset': ('synonym_separator',),
}
COMMON_OPTIONS = ('base', 'seen_in', 'only', 'dedupe')
BUILD_KEYS = tuple(dict.fromkeys([*SOURCE_OPTIONS, *COMMON_OPTIONS, *sum(SOURCE_OPTIONS.values(), ())]))


def read_spec(spec: Any) -> tuple[str, Any, dict[str, Any]]:
    """Tell what a vocabulary is made from.

    Args:
        spec: A sequence of words, a path, a data set's name, or a dict as `Vocabulary.build` describes it.

    Returns:
        'words', 'file' or 'dataset'; the list, path or name; the remaining options.

    Raises:
        MissingFileError: If a bare string is neither a file nor a data set.
        VocabularyError: If the specification cannot be understood.
    """
    if isinstance(spec, str):
        return _file_or_dataset(spec), spec, {}
    if isinstance(spec, PathLike):
        return 'file', spec, {}
    if isinstance(spec, Mapping):
        return _read_mapping(spec)
    if isinstance(spec, Sequence):
        return 'words', spec, {}
    raise VocabularyError(
        f'a vocabulary cannot be made from {type(spec).__name__}. Give a list of words, a path, the name of a data set '
        'or a dict.'
    )


def table_of_words(words: Iterable[str], columns: Mapping[str, Any], source: str) -> WordTable:
    """Gather a caller's lists.

    Raises:
        VocabularyError: If the words are one string or have no order, or a column is unknown or no list.
    """
    if isinstance(words, str):
        shown = printable(words)
        raise VocabularyError(f"one string, '{shown}', was given where a list of words belongs. Write ['{shown}'].")
    if isinstance(words, Set) or not isinstance(words, Iterable):
        raise VocabularyError(f'the words are {type(words).__name__}, not a list. Give a list, whose order is kept.')
    for name, column in columns.items():
        if name not in COLUMNS:
            raise VocabularyError(
                f"unknown column '{name}'{ending(name, COLUMNS)} The columns are {', '.join(COLUMNS)}."
            )
        if column is not None and (isinstance(column, str | Mapping | Set) or not isinstance(column, Iterable)):
            raise VocabularyError(f"'{name}' is {type(column).__name__}. Give a list with one entry per word.")
    return WordTable(source, tuple(words), **{name: tuple(c) for name, c in columns.items() if c is not None})


def split(table: WordTable, synonym_separator: str | None) -> WordTable:
    """Split rows into words and synonyms where a separator is given."""
    return table if synonym_separator is None else table.with_split_synonyms(synonym_separator)


def base_flags(table: WordTable, base: Iterable[str] | str) -> tuple[bool, ...]:
    """Which of the words are base.

    Args:
        table: The words; its own base words count where no others are given.
        base: Base words, or the path of a file that lists them.

    Raises:
        MissingFileError: If there is no such file.
        VocabularyError: If a base word is no string, or is not among the words.
    """
    if isinstance(base, str | PathLike):
        base = read_vocabulary_file(Path(base)).words
    if not isinstance(base, Iterable):
        raise VocabularyError(f'the base words are {type(base).__name__}. Give a list of words or the path of a file.')
    base = tuple(base) or tuple(table.base)
    for word in base:
        if not isinstance(word, str):
            raise VocabularyError(f'{word!r} is among the base words, but no string. Write it as text.')
    base_keys = {normalise_word(word): printable(word) for word in base}
    keys = [normalise_word(word) for word in table.words]
    strangers = [word for key, word in base_keys.items() if key not in set(keys)]
    if strangers:
        shown = ', '.join(f"'{word}'" for word in strangers[:5]) + (', ...' if len(strangers) > 5 else '')
        raise VocabularyError(
            f'{len(strangers)} base word(s) are not in {table.source}: {shown}{ending(strangers[0], table.words)} '
            'Base words must be among the words.'
        )
    return tuple(key in base_keys for key in keys)


def _file_or_dataset(name: str) -> str:
    is_path = '/' in name or Path(name).name != name
    known = not is_path and is_dataset(name)
    is_file = os.path.isfile(name)
    if known and is_file:
        raise VocabularyError(
            f"'{name}' is the name of a data set and of a file in '{Path.cwd()}'. "
            f"Write dict(dataset='{name}') or './{name}'."
        )
    if not (known or is_file or is_path or Path(name).suffix):
        raise MissingFileError(
            f"there is no vocabulary file '{printable(name)}' in '{Path.cwd()}', and no data set of that name"
            f'{suggest_dataset(name)} Check the name, or give a list of words.'
        )
    return 'dataset' if known else 'file'


def _read_mapping(spec: Mapping[str, Any]) -> tuple[str, Any, dict[str, Any]]:
    unknown = [key for key in spec if key not in BUILD_KEYS]
    if unknown:
        raise VocabularyError(f"unknown key '{unknown[0]}' in the vocabulary; the keys are {', '.join(BUILD_KEYS)}.")
    sources = [key for key in SOURCE_OPTIONS if key in spec]
    if len(sources) != 1:
        raise VocabularyError("a vocabulary takes either 'words' or 'file' or 'dataset', and one of them is needed.")
    source = sources[0]
    for key in spec:
        if key not in (source, *COMMON_OPTIONS, *SOURCE_OPTIONS[source]):
            homes = ' or '.join(f"'{home}'" for home, options in SOURCE_OPTIONS.items() if key in options)
            raise VocabularyError(f"the key '{key}' goes with {homes}, not with '{source}'. Leave it out.")
    only = spec.get('only')
    if only not in (None, 'base', 'novel'):
        raise VocabularyError(f"only='{only}' in the vocabulary: write 'base' or 'novel'.")
    options = {key: value for key, value in spec.items() if key != source}
    options['base'] = options.get('base') or ()
    if options['base'] and options.get('seen_in') is not None:
        raise VocabularyError("'base' and 'seen_in' of a vocabulary say the same; leave one of them out.")
    if source == 'file' and not isinstance(spec['file'], str | PathLike):
        raise VocabularyError(f"'file' of a vocabulary is {spec['file']!r}. Write a path.")
    return source, spec[source], options
