"""Class lists that annotation files are compared with: this package's word lists and mmdet's data sets."""

from importlib import import_module
from pathlib import Path

from vlm_dense.datasets.vocabularies import vocabulary_path
from vlm_dense.text.vocabulary_files import read_vocabulary_file


def class_list(spec: str) -> tuple[str, ...]:
    """Names of a class list.

    Args:
        spec: ``mmdet:CocoDataset`` (any mmdet data set), or the name of a word list of this package, with ``:base`` or
            ``:novel`` for a part of it.

    Raises:
        MissingFileError: If the package has no such word list.
    """
    if spec.startswith('mmdet:'):
        # Late: mmdet takes seconds to import.
        dataset = getattr(import_module('mmdet.datasets'), spec.removeprefix('mmdet:'))
        return tuple(dataset.METAINFO['classes'])
    name, _, part = spec.partition(':')
    words, base = word_list(name)
    return tuple(word for word in words if not part or (word in base) == (part == 'base'))


def word_list(name: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Words of a list of this package, and those of them that are base words."""
    table = read_vocabulary_file(Path(vocabulary_path(name)))
    return tuple(table.words), frozenset(table.base)
