"""Embeddings of regions on disk: `tools/precompute_regions.py` writes them, training looks them up.

Shapes: N regions asked for, M stored regions of a picture, P pictures of a file, R regions of a file, D width.
"""

import hashlib
import logging
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from vlm_dense.checkpoints.row_files import DAMAGE, KEY_BYTES, StoredTensors, map_tensors, write_tensors
from vlm_dense.errors import DataError, MissingFileError, StorageError

SUFFIX = '.safetensors'
TENSOR_NAMES = ('picture_keys', 'ends_P', 'boxes_R4', 'region_RD')
TOLERANCE = 1 / 16  # pixels; resizing there and back in float32 moves a side by less than 1/100
COMMAND = 'python tools/precompute_regions.py CONFIG'

logger = logging.getLogger(__name__)


class PictureRegions(NamedTuple):
    """Boxes (M, 4), xyxy in pixels of the picture on disk, and their embeddings (M, D)."""

    boxes_M4: Tensor
    region_MD: Tensor


class RegionBank:
    """Region embeddings by picture content and box.

    A file holds the regions of some pictures and a checksum, which is compared when the file is first read from; its
    tensors are mapped, not loaded. Files of other towers or crop settings lie in other subfolders.

    Args:
        folder: Of the bank; may be shared by several teachers.
        teacher: Names all that changes an embedding beside picture and box: tower, weights, crop settings.
    """

    def __init__(self, folder: str | Path, teacher: str) -> None:
        self.root = Path(folder).expanduser()
        self.teacher = teacher
        self.folder = self.root / hashlib.sha256(teacher.encode()).hexdigest()[:16]
        self._picture_keys: dict[str, bytes] = {}
        self._checked: set[Path] = set()

    def lookup(self, picture: str, boxes_N4: Tensor) -> Tensor:
        """Embeddings of boxes.

        Args:
            picture: Path of the picture; its content counts, not its place.
            boxes_N4: xyxy in pixels of the picture on disk. The nearest stored box is taken where no side is further
                than `TOLERANCE` from it.

        Returns:
            (N, D) on the CPU.

        Raises:
            DataError: If a box is not in the bank, or a file of it is damaged.
            MissingFileError: If there is no bank of this teacher, or no picture.
        """
        region_ND, found_N = self.find(picture, boxes_N4)
        if not found_N.all():
            box = [round(side, 2) for side in boxes_N4[int(found_N.int().argmin())].tolist()]
            raise DataError(
                f"region bank '{self.root}' has no embedding of the box {box} (xyxy) of picture '{picture}'. "
                f"Run `{COMMAND}` with the boxes that training uses, or set missing='compute' in the teacher."
            )
        return region_ND

    def find(self, picture: str, boxes_N4: Tensor) -> tuple[Tensor, Tensor]:
        """As `lookup`, for boxes that may be missing.

        Returns:
            (n, D) embeddings of the boxes that are there, and (N,) flags that tell which; n flags are set. The width
            D is 0 where the bank knows nothing of the picture.
        """
        stored = self.regions(picture)
        boxes_N4 = boxes_N4.detach().cpu().float()
        if not len(stored.boxes_M4) or not len(boxes_N4):
            return stored.region_MD[:0], torch.zeros(len(boxes_N4), dtype=torch.bool)
        gap_N, row_N = (boxes_N4[:, None] - stored.boxes_M4[None]).abs().amax(dim=2).min(dim=1)
        found_N = gap_N <= TOLERANCE
        return stored.region_MD[row_N[found_N]], found_N

    def regions(self, picture: str) -> PictureRegions:
        """All stored regions of a picture, in stored order. Errors as in `lookup`."""
        if not self._files:
            raise MissingFileError(
                f"there is no bank of this teacher's regions in '{self.root}' (another tower, weights or crop "
                f'settings make another bank). Run `{COMMAND}`, or correct the path.'
            )
        parts = [self._part(*place) for place in self._places.get(self._key(picture), ())]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return PictureRegions(torch.empty(0, 4), torch.empty(0, 0))
        return PictureRegions(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def has(self, picture: str, boxes_N4: Tensor) -> Tensor:
        """(N,) flags: which of the boxes are there; none where there is no bank yet."""
        if not self._files:
            return torch.zeros(len(boxes_N4), dtype=torch.bool)
        return self.find(picture, boxes_N4)[1]

    def add(self, pictures: Iterable[tuple[str, Tensor, Tensor]]) -> Path:
        """Write one file. Banks that were opened before don't see it.

        Args:
            pictures: Path, boxes (M, 4) xyxy in pixels of the picture on disk, and embeddings (M, D) of each picture.

        Raises:
            StorageError: If it cannot be written.
        """
        paths, boxes, regions = zip(*pictures, strict=True)
        keys = torch.frombuffer(bytearray(b''.join(map(self._key, paths))), dtype=torch.uint8).view(-1, KEY_BYTES)
        ends_P = torch.tensor([len(boxes_M4) for boxes_M4 in boxes]).cumsum(0)
        tensors = (keys, ends_P, torch.cat(boxes).float().cpu(), torch.cat(regions).float().cpu())
        digest = hashlib.sha256(keys.numpy().tobytes() + tensors[2].numpy().tobytes())
        path = self.folder / f'{digest.hexdigest()[:32]}{SUFFIX}'
        try:
            write_tensors(path, dict(zip(TENSOR_NAMES, tensors, strict=True)), {'teacher': self.teacher})
        except (OSError, SafetensorError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise StorageError(
                f"regions cannot be written to '{self.folder}': {reason}. Free some space, or choose another folder."
            ) from error
        return path

    def remove_damaged(self) -> list[Path]:
        """Read all files, and remove those that are damaged, with a warning for each; call it before anything else."""
        damaged = [path for path in self._paths() if (stored := _map(path)) is None or not stored.whole]
        for path in damaged:
            logger.warning("region bank file '%s' is damaged and removed; its regions are computed again", path)
            path.unlink(missing_ok=True)
        self._checked = set(self._paths())
        return damaged

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob(f'*{SUFFIX}'))

    @cached_property
    def _files(self) -> dict[Path, StoredTensors]:
        files = {}
        for path in self._paths():
            stored = _map(path)
            if stored is None:
                raise self._damaged(path)
            files[path] = stored
        return files

    @cached_property
    def _places(self) -> dict[bytes, list[tuple[Path, int, int]]]:
        """By picture: the files that hold regions of it, and which of their rows."""
        places: dict[bytes, list[tuple[Path, int, int]]] = {}
        for path, ((picture_keys, ends_P, *_), _) in self._files.items():
            first = 0
            for key, end in zip(picture_keys.numpy(), ends_P.tolist(), strict=True):
                places.setdefault(key.tobytes(), []).append((path, first, end))
                first = end
        return places

    def _part(self, path: Path, first: int, end: int) -> PictureRegions:
        stored = self._files[path]
        if path not in self._checked:
            if not stored.whole:
                raise self._damaged(path)
            self._checked.add(path)
        _, _, boxes_R4, region_RD = stored.tensors
        return PictureRegions(boxes_R4[first:end], region_RD[first:end])

    def _key(self, picture: str) -> bytes:
        """Digest of the picture's file, read once per process."""
        if picture not in self._picture_keys:
            try:
                content = Path(picture).read_bytes()
            except OSError as error:
                raise MissingFileError(f"picture '{picture}' cannot be read ({error}). Check the path.") from error
            self._picture_keys[picture] = hashlib.blake2b(content, digest_size=KEY_BYTES).digest()
        return self._picture_keys[picture]

    def _damaged(self, path: Path) -> DataError:
        return DataError(f"region bank file '{path}' is damaged. Run `{COMMAND}` again: it replaces the file.")


def _map(path: Path) -> StoredTensors | None:
    """None where the file is damaged."""
    try:
        return map_tensors(path, TENSOR_NAMES)
    except DAMAGE:
        return None
