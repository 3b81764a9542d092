"""What is inside picture files: sizes, values of label maps, and which cannot be read."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

Kind = Literal['picture', 'labels', 'segments']
THREADS = min(8, os.cpu_count() or 1)
EXIF_ORIENTATION, QUARTER_TURNS = 0x0112, (5, 6, 7, 8)
RGB_WEIGHTS = (1, 256, 256**2)  # a segment's id from its colour


class Fact(NamedTuple):
    """One file.

    Args:
        width: In pixels, as a reader gives it; 0 if the file cannot be decoded.
        height: As ``width``.
        digest: Of its bytes; empty if they cannot be read.
        pixels_of: Of label maps and panoptic maps, every value with its number of pixels.
        bits: Of a label map, per pixel.
        error: Why the file cannot be decoded.
        wrong_form: Why a file that can be decoded is no label map or no panoptic map.
    """

    width: int = 0
    height: int = 0
    digest: str = ''
    pixels_of: tuple[tuple[int, int], ...] = ()
    bits: int = 0
    error: str = ''
    wrong_form: str = ''

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @property
    def flaw(self) -> str:
        """Why the file is of no use; empty if it is of use."""
        return self.error or self.wrong_form

    def other_values(self, legal: Callable[[int], bool]) -> dict[int, int]:
        """Values that are not legal, with their numbers of pixels."""
        return {value: pixels for value, pixels in self.pixels_of if not legal(value)}


def read_facts(
    paths: Iterable[Path], kind: Kind, read: Callable[[Path, Kind], Fact | None] | None = None
) -> dict[Path, Fact | None]:
    """A fact per path, None where there is no file. Decoders release Python's lock: several files are read at once.

    Args:
        kind: ``picture`` is decoded to its end; of ``labels`` the values are counted, of ``segments`` (panoptic maps)
            the numbers R + 256 G + 65536 B.
        read: Reads one file, by default ``read_fact``.
    """
    read = read or read_fact
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(pool.map(lambda path: (path, read(path, kind)), list(paths)))


def read_fact(path: Path, kind: Kind) -> Fact | None:
    """Decode one file; None if there is none."""
    if not os.path.isfile(path):
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        return Fact(error=f'cannot be read ({error})')
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _picture(image, digest) if kind == 'picture' else _map(image, kind, digest)
    # Pillow reports damage as OSError, SyntaxError, ValueError, EOFError or struct.error, depending on the format.
    except Exception as error:
        return Fact(digest=digest, error=f'cannot be read ({error or type(error).__name__})')


def _picture(image: Image.Image, digest: str) -> Fact:
    width, height = image.size
    # A JPEG is read to its end all the same, but only an eighth of each side is computed.
    image.draft(None, (max(1, width // 8), max(1, height // 8)))
    image.load()
    # mmcv's readers turn a picture as its EXIF says, and the annotations must fit what they give.
    is_turned = image.getexif().get(EXIF_ORIENTATION, 1) in QUARTER_TURNS
    return Fact(height, width, digest) if is_turned else Fact(width, height, digest)


def _map(image: Image.Image, kind: Kind, digest: str) -> Fact:
    values = np.asarray(image)
    if kind == 'segments':
        if values.ndim != 3 or values.shape[2] != len(RGB_WEIGHTS):
            return Fact(*image.size, digest, wrong_form=f'is a {image.mode} picture, not an RGB map of segments')
        values = values.astype(np.int64) @ np.array(RGB_WEIGHTS)
    elif values.ndim != 2 or values.dtype.kind not in 'uib':
        return Fact(*image.size, digest, wrong_form=f'is a {image.mode} picture, not a label map of one channel')
    found, counts = np.unique(values, return_counts=True)
    pixels_of = tuple(zip(found.astype(int).tolist(), counts.tolist(), strict=True))
    return Fact(values.shape[1], values.shape[0], digest, pixels_of, 8 * values.dtype.itemsize)
