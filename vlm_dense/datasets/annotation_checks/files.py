"""Picture files: there, whole, of the size that is said, each content once."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm_dense.datasets.annotation_checks.boxes import Size
from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.errors import MissingFileError

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # Exif: rows and columns change places
AT_ONCE = 64  # files whose results wait at the same time


@dataclass(frozen=True)
class ReadFile:
    """What a file holds.

    Args:
        size: Width and height in pixels as a reader that obeys Exif sees them; None if the file cannot be decoded.
        digest: Of its bytes; None if there is no such file.
        error: Why it cannot be decoded.
        pixels: Its pixels where they were asked for.
    """

    size: Size | None = None
    digest: bytes | None = None
    error: str = ''
    pixels: np.ndarray | None = None


def read_whole(path: Path, keep: bool = False) -> ReadFile:
    """Decode a file to its end.

    Args:
        path: The file.
        keep: Whether to give its pixels, palettes as indices.
    """
    if not path.is_file():
        return ReadFile()
    try:
        content = path.read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()
    except OSError as error:
        return ReadFile(digest=b'', error=str(error))
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            width, height = picture.size
            if picture.getexif().get(ORIENTATION) in TURNED:
                width, height = height, width
            return ReadFile((width, height), digest, pixels=np.asarray(picture) if keep else None)
    # Pillow reports damage as OSError, SyntaxError, ValueError or EOFError, depending on the format.
    except Exception as error:
        return ReadFile(digest=digest, error=str(error) or type(error).__name__)


def in_threads(work: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
    """Results in the order of the jobs; decoders release Python's lock. Few results wait at a time."""
    rest = iter(jobs)
    with ThreadPoolExecutor(cpu_count()) as pool:
        while chunk := list(islice(rest, AT_ONCE)):
            yield from pool.map(work, chunk)


def require_folder(folder: Path, option: str) -> Path:
    """The folder.

    Raises:
        MissingFileError: If it is none.
    """
    if not folder.is_dir():
        raise MissingFileError(f"'{folder}' is no folder. Give {option} the folder that the names are relative to.")
    return folder


class PictureFiles:
    """Reads picture files and reports what is wrong with them; a path that was read before is not read again."""

    def __init__(self, folder: Path, defects: Defects) -> None:
        self.folder = require_folder(folder, '--pictures')
        self.defects = defects
        self.sizes: dict[str, Size | None] = {}
        self._names: dict[bytes, str] = {}

    def check(self, wanted: Iterable[tuple[str, Size | None]]) -> None:
        """Look at files.

        Args:
            wanted: Path below the folder, and width and height that the annotations say, where they do.
        """
        said = dict(reversed(list(wanted)))  # of a name listed twice the first counts
        names = [name for name in reversed(said) if name not in self.sizes]
        for name, found in zip(names, in_threads(lambda name: read_whole(self.folder / name), names), strict=True):
            self.sizes[name] = found.size
            self._report(name, found, said[name])

    def _report(self, name: str, found: ReadFile, said: Size | None) -> None:
        if found.digest is None:
            self.defects.add('missing-picture', name, f'is not in {self.folder}')
            return
        if found.size is None:
            self.defects.add('unreadable-picture', name, found.error)
            return
        if said is not None and found.size != said:
            what = f'the file has {found.size[0]} x {found.size[1]} pixels, the annotations say {said[0]} x {said[1]}'
            self.defects.add('picture-size-differs', name, what)
        first = self._names.setdefault(found.digest, name)
        if first != name:
            self.defects.add('same-content', name, f'has the same bytes as {first}')
