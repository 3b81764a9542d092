"""What is inside picture files, read once: sizes, values of label maps, and which cannot be read."""

import contextlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from vlm_dense.datasets.preparation.files import placed

Kind = Literal['picture', 'labels', 'segments']
THREADS = min(8, os.cpu_count() or 1)
# Pillow's names of single-channel pictures.
LABEL_MODES = {'L', 'P', 'I', 'I;16', 'I;16B', 'I;16L'}

EXIF_ORIENTATION = 0x0112
QUARTER_TURNS = (5, 6, 7, 8)


class Fact(NamedTuple):
    """One file: its size in pixels as a reader gives it, and why it cannot be read if so.

    Of label maps and panoptic maps ``values`` are those that occur.
    """

    width: int
    height: int
    values: tuple[int, ...] = ()
    error: str = ''


class FileFacts:
    """Facts about files, remembered between runs until a file's length or time changes.

    Args:
        store: JSON file that remembers; a place that cannot be written only costs reading again.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.known: dict[str, list] = {}
        with contextlib.suppress(OSError, ValueError):
            self.known = json.loads(store.read_text(encoding='utf-8'))

    def of(self, paths: Iterable[Path], kind: Kind) -> dict[Path, Fact | None]:
        """A fact per path; None where there is no file.

        Args:
            kind: ``picture`` is decoded to its end; of ``labels`` the values are kept, of ``segments`` (panoptic maps)
                the numbers R + 256 G + 65536 B.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            return dict(pool.map(lambda path: (path, self._one(path, kind)), list(paths)))

    def save(self) -> None:
        """Remember for the next run, if there is a root to remember in."""
        if not self.store.parent.parent.is_dir():
            return
        with contextlib.suppress(OSError), placed(self.store) as part:
            part.write_text(json.dumps(self.known), encoding='utf-8')

    def _one(self, path: Path, kind: Kind) -> Fact | None:
        try:
            status = path.stat()
        except OSError:
            return None
        key, stamp = f'{kind} {path.absolute()}', [status.st_size, status.st_mtime_ns]
        known = self.known.get(key)
        if known and known[:2] == stamp:
            return Fact(known[2], known[3], tuple(known[4]))
        fact = read_fact(path, kind)
        if not fact.error:
            self.known[key] = [*stamp, fact.width, fact.height, list(fact.values)]
        return fact


def read_fact(path: Path, kind: Kind) -> Fact:
    """Decode one file."""
    try:
        with Image.open(path) as image:
            if kind == 'picture':
                width, height = image.size
                # A JPEG is read to its end all the same, but only an eighth of each side is computed.
                image.draft(None, (width // 8, height // 8))
                image.load()
                # mmcv's readers turn a picture as its EXIF says, and the annotations must fit what they give.
                is_turned = image.getexif().get(EXIF_ORIENTATION, 1) in QUARTER_TURNS
                return Fact(height, width) if is_turned else Fact(width, height)
            if kind == 'labels' and image.mode not in LABEL_MODES:
                return Fact(0, 0, error=f'is a {image.mode} picture, not a label map of one channel')
            values = np.asarray(image.convert('RGB') if kind == 'segments' else image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return Fact(0, 0, error=f'cannot be read ({error})')
    if kind == 'segments':
        values = values.astype(np.int64) @ np.array([1, 256, 256**2])
    return Fact(values.shape[1], values.shape[0], tuple(int(value) for value in np.unique(values)))
