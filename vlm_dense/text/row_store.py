"""A folder of bank files: banks found by their rows, rows found in any bank, old banks evicted."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from vlm_dense.checkpoints.row_files import KEY_BYTES
from vlm_dense.errors import StorageError
from vlm_dense.text.cache import StoredRows, read_rows, read_unchecked, write_rows

SUFFIX = '.safetensors'
PART = 'part-'  # begins the name of a file that an unfinished bank left; its rows are as good as any

logger = logging.getLogger(__name__)


class RowStore:
    """The banks of one encoder, averaging and number type.

    Args:
        root: Folder that all spaces share; the size limit is about all of it.
        space: Name of the subfolder, one for everything that changes a row beside the texts themselves.
        limit_bytes: Size above which the banks that were not read for longest are removed; None for no limit.
    """

    def __init__(self, root: Path, space: str, limit_bytes: int | None = None) -> None:
        self.root, self.folder, self.limit_bytes = root, root / space, limit_bytes

    def bank_file(self, row_keys: Tensor) -> Path:
        """Where the bank with these rows, in this order, is kept."""
        return self.folder / f'{hashlib.sha256(row_keys.numpy().tobytes()).hexdigest()[:32]}{SUFFIX}'

    def bank(self, row_keys: Tensor) -> Tensor | None:
        """The rows (K, D) of a finished bank, memory-mapped, or None."""
        path = self.bank_file(row_keys)
        stored = read_rows(path)
        if stored is None or not torch.equal(stored.row_keys, row_keys):
            return None
        with suppress(OSError):  # a cache that may only be read is not evicted from here either
            os.utime(path)
        return stored.text_KD

    def known_rows(self, row_keys: Tensor) -> dict[bytes, Tensor]:
        """Those of the rows that any file of this space holds, by key."""
        wanted = {key.tobytes() for key in row_keys.numpy()}
        found: dict[bytes, Tensor] = {}
        for path in self._files():
            missing = wanted - found.keys()
            if not missing:
                break
            if missing & _keys_in(path):
                found |= _pick(read_rows(path), missing)
        return found

    def save_part(self, row_keys: Tensor, text_KD: Tensor, metadata: dict[str, str]) -> None:
        """Keep rows of a bank that is not finished yet, so that they survive the end of this process."""
        path = self.bank_file(row_keys)
        write_rows(path.with_name(PART + path.name), text_KD, row_keys, metadata)

    def save_bank(self, row_keys: Tensor, text_KD: Tensor, metadata: dict[str, str]) -> None:
        """Write a finished bank, remove the parts that it makes superfluous, and keep to the size limit."""
        path = self.bank_file(row_keys)
        write_rows(path, text_KD, row_keys, metadata)
        inside = {key.tobytes() for key in row_keys.numpy()}
        for part in self.folder.glob(f'{PART}*{SUFFIX}'):
            if _keys_in(part) <= inside:
                part.unlink(missing_ok=True)
        if self.limit_bytes is not None:
            evict(self.root, self.limit_bytes, keep=path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time make rows of this space; the others then find them.

        Raises:
            StorageError: If the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / '.lock')
            lock.acquire()
        except OSError as error:
            raise StorageError(
                f"text embeddings cannot be cached in '{self.folder}': {error.strerror or error}. "
                'Choose another cache_dir, or set cache_dir=None to do without.'
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f'*{SUFFIX}'))


def bank_files(root: Path) -> list[Path]:
    """Every file of every space below a cache folder, the one not read for longest first."""
    files = [(path.stat().st_mtime, path) for path in root.glob(f'*/*{SUFFIX}') if path.is_file()]
    return [path for _, path in sorted(files)]


def evict(root: Path, limit_bytes: int, keep: Path | None = None) -> list[Path]:
    """Remove the banks that were not read for longest until the rest fits the limit.

    Args:
        root: Cache folder.
        limit_bytes: What all files together may take.
        keep: A file that stays, even where it alone is larger.

    Returns:
        The files removed.
    """
    files = bank_files(root)
    total = sum(path.stat().st_size for path in files)
    removed = []
    for path in files:
        if total <= limit_bytes:
            break
        if path != keep:
            total -= path.stat().st_size
            path.unlink(missing_ok=True)
            removed.append(path)
    if removed:
        logger.info("removed %d text banks from '%s' to keep below %d bytes", len(removed), root, limit_bytes)
    return removed


def row_key(texts: Sequence[str]) -> bytes:
    """Key of a row: the texts that it was made from, in their order."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode('utf-8')
        digest.update(len(encoded).to_bytes(8, 'little') + encoded)
    return digest.digest()[:KEY_BYTES]


def stack_keys(keys: Sequence[bytes]) -> Tensor:
    """Keys as a (K, 16) uint8 table."""
    return torch.frombuffer(bytearray(b''.join(keys)), dtype=torch.uint8).view(len(keys), KEY_BYTES)


def _keys_in(path: Path) -> set[bytes]:
    stored = read_unchecked(path)
    return set() if stored is None else {key.tobytes() for key in stored.row_keys.numpy()}


def _pick(stored: StoredRows | None, wanted: set[bytes]) -> dict[bytes, Tensor]:
    if stored is None:
        return {}
    keys = [key.tobytes() for key in stored.row_keys.numpy()]
    return {key: stored.text_KD[row] for row, key in enumerate(keys) if key in wanted}
