"""Lists of words with their base/novel split, kept as data."""

from pathlib import Path

from vlm_dense.errors import MissingFileError

FOLDER = Path(__file__).parent


def vocabulary_path(name: str) -> str:
    """Path of a word list that ships with the package, for ``Vocabulary.build(dict(file=...))``.

    Args:
        name: Name of the list, for example ``'ovcoco'``.

    Raises:
        MissingFileError: If the package holds no list of that name.
    """
    path = FOLDER / f'{name}.json'
    if not path.is_file():
        known = ', '.join(sorted(file.stem for file in FOLDER.glob('*.json')))
        raise MissingFileError(f"no word list '{name}' in {FOLDER}; known lists: {known}.")
    return str(path)
