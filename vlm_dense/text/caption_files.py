"""Captions of files in the layouts that they come in."""

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from vlm_dense.errors import DataError, MissingFileError


def read_captions(path: Path) -> Iterator[str]:
    """Captions of a file, in its order; empty ones are left out.

    Args:
        path: ``.json`` in COCO's layout (``annotations`` with ``caption``), ``.jsonl`` in ODVG's (``grounding`` with
            ``caption``; lines without are passed over), a ``.tar`` of WebDataset (its ``.txt`` members), or a text
            file with one caption per line.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it cannot be read so.
    """
    if not path.is_file():
        raise MissingFileError(f"there is no file of captions '{path}'. Check the path.")
    try:
        for caption in READERS.get(path.suffix, _lines)(path):
            if caption.strip():
                yield caption.strip()
    except (ValueError, KeyError, TypeError, AttributeError, OSError, tarfile.TarError) as error:
        raise DataError(f"'{path}' holds no captions ({type(error).__name__}: {error}). Check its layout.") from error


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding='utf-8') as lines:
        yield from lines


def _coco(path: Path) -> Iterator[str]:
    for annotation in json.loads(path.read_text(encoding='utf-8'))['annotations']:
        yield annotation['caption']


def _odvg(path: Path) -> Iterator[str]:
    for line in _lines(path):
        if 'grounding' in (record := json.loads(line)):
            yield record['grounding']['caption']


def _shard(path: Path) -> Iterator[str]:
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith('.txt') else None
            if file is not None:
                yield file.read().decode('utf-8')


READERS: dict[str, Callable[[Path], Iterator[str]]] = {'.json': _coco, '.jsonl': _odvg, '.tar': _shard}
