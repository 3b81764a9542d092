"""Predictions on disk, one picture after the other, so that a killed run loses only the pictures in work."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm_dense.errors import ConfigError, DataError, MissingFileError, StorageError
from vlm_dense.folders import whole_file

REQUEST = 'request.json'
LINES = '*.jsonl'
MAPS = 'maps'
SEPARATOR = b'\t'


class PredictionStore:
    """A folder with ``request.json`` (what was asked of what) and lines of predictions.

    Every process appends to a file of its own: the picture's identity and the seconds it took, a tab, the record; both
    JSON. A line without its end, as a kill leaves it, does not count. Processes on several machines must see the same
    folder.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._places: dict[str | int, tuple[Path, int]] = {}
        self._seconds: dict[str | int, float] = {}
        self._own: Any = None

    def begin(self, asked: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        """Write down what is asked, or compare it with what was asked when the folder was begun.

        Args:
            asked: What decides about the predictions.
            told: What is kept beside it, for reports.

        Raises:
            ConfigError: If the folder holds predictions of another request; it names what differs.
            StorageError: If the folder cannot be written.
        """
        path = self.folder / REQUEST
        if path.is_file():
            known = self.request()
            differs = [key for key, value in asked.items() if known.get(key) != value]
            if differs:
                raise ConfigError(
                    f'{self.folder} holds predictions of another run (different: {", ".join(differs)}); give another '
                    'folder as --out, or remove this one.'
                )
            return
        try:
            with whole_file(path) as part:
                part.write_text(json.dumps({**asked, **told}, ensure_ascii=False, indent=1), encoding='utf-8')
        except OSError as error:
            raise StorageError(
                f'cannot write {path} ({error}); free some space or give another folder as --out.'
            ) from error

    def request(self) -> dict[str, Any]:
        """What was asked.

        Raises:
            MissingFileError: If the folder holds no predictions.
            DataError: If the file is damaged.
        """
        path = self.folder / REQUEST
        try:
            return json.loads(path.read_text(encoding='utf-8'))
        except FileNotFoundError as error:
            raise MissingFileError(
                f'{self.folder} holds no predictions ({REQUEST} is missing); name the --out folder of a run with '
                '--protocol.'
            ) from error
        except ValueError as error:
            raise DataError(f'{path} is damaged ({error}); remove {self.folder} and predict again.') from error

    def finished(self) -> set[str | int]:
        """Identities of the pictures that are done, by all processes so far."""
        self._places, self._seconds = {}, {}
        for path in sorted(self.folder.glob(LINES)):
            start = 0
            with path.open('rb') as lines:
                for line in lines:
                    if line.endswith(b'\n'):
                        identity, seconds = json.loads(line.partition(SEPARATOR)[0])
                        self._places.setdefault(identity, (path, start))
                        self._seconds.setdefault(identity, seconds)
                    start += len(line)
        return set(self._places)

    def __len__(self) -> int:
        """Number of pictures that `finished` last saw."""
        return len(self._places)

    def seconds(self) -> float:
        """Time that the model took for the pictures that `finished` last saw."""
        return sum(self._seconds.values())

    def add(self, identity: str | int, record: Mapping[str, Any], seconds: float) -> None:
        """Append a picture.

        Args:
            identity: Of the picture; ids and paths are told apart by their type.
            record: What JSON can hold.
            seconds: That the model took for it.

        Raises:
            StorageError: If it cannot be written.
        """
        line = f'{json.dumps([identity, seconds])}\t{json.dumps(record, ensure_ascii=False)}\n'
        try:
            if self._own is None:
                # Never an old file: its last line may have no end.
                self._own = (self.folder / f'{uuid.uuid4().hex}.jsonl').open('x', encoding='utf-8')
            self._own.write(line)
            self._own.flush()
        except OSError as error:
            raise StorageError(
                f'cannot write predictions to {self.folder} ({error}); free some space and start again: finished '
                'pictures are kept.'
            ) from error

    def close(self) -> None:
        """Close this process's file."""
        if self._own is not None:
            self._own.close()
            self._own = None

    def read(self) -> Iterator[tuple[str | int, dict[str, Any]]]:
        """Every picture that `finished` last saw, once, with its record."""
        for identity, (path, start) in self._places.items():
            with path.open('rb') as lines:
                lines.seek(start)
                yield identity, json.loads(lines.readline().partition(SEPARATOR)[2])

    def write_map(self, values_HW: np.ndarray) -> str:
        """Keep a map of whole numbers from 0 to 2**24 - 1 as PNG.

        Returns:
            Its name, for `read_map`.

        Raises:
            StorageError: If it cannot be written.
        """
        name = f'{uuid.uuid4().hex}.png'
        path = self.folder / MAPS / name
        try:
            path.parent.mkdir(exist_ok=True)
            _to_picture(values_HW).save(path, compress_level=1)
        except OSError as error:
            raise StorageError(
                f'cannot write {path} ({error}); free some space and start again: finished pictures are kept.'
            ) from error
        return name

    def read_map(self, name: str) -> np.ndarray:
        """A map that `write_map` kept, (H, W) int64."""
        with Image.open(self.folder / MAPS / name) as picture:
            values = np.asarray(picture).astype(np.int64)
        return values if values.ndim == 2 else values @ np.array([1, 256, 65536])


def _to_picture(values_HW: np.ndarray) -> Image.Image:
    highest = int(values_HW.max(initial=0))
    assert values_HW.min(initial=0) >= 0
    if highest < 256:
        return Image.fromarray(values_HW.astype(np.uint8))
    if highest < 65536:
        return Image.fromarray(values_HW.astype(np.uint16))
    assert highest < 2**24
    return Image.fromarray(np.stack([values_HW >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8))
