"""One table of rows per file on disk, written whole or not at all, checked when read, and mapped into memory."""

import logging
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from vlm_dense.checkpoints.row_files import DAMAGE, KEY_BYTES, map_tensors, tensors_sha256, write_tensors
from vlm_dense.errors import StorageError
from vlm_dense.folders import cache_root

TENSOR_NAME = 'text_KD'
KEYS_NAME = 'row_keys'

logger = logging.getLogger(__name__)


def banks_folder(cache_dir: str | None) -> Path | None:
    """The folder that ``cache_dir`` of a bank or encoder means: 'default', a path, or None for none."""
    if cache_dir is None:
        return None
    return cache_root() / 'text' if cache_dir == 'default' else Path(cache_dir).expanduser()


class StoredRows(NamedTuple):
    """What a file holds: rows (K, D), the key of each (K, 16) uint8, and free text."""

    text_KD: Tensor
    row_keys: Tensor
    metadata: dict[str, str]


def read_rows(path: Path) -> StoredRows | None:
    """Read and check a file that `write_rows` wrote.

    Args:
        path: File of the cache.

    Returns:
        Its rows, memory-mapped: the file may be replaced or removed while they are in use. None where there is no
        file or where it is damaged (then a warning is logged, and the caller makes the rows again).

    Raises:
        StorageError: If the file exists but may not be read.
    """
    if not path.is_file():
        return None
    try:
        stored = _map(path)
    except PermissionError as error:
        raise StorageError(f"'{path}' may not be read. Correct its permissions, or set cache_dir=None.") from error
    except DAMAGE as error:
        logger.warning("cached text embeddings '%s' are damaged (%s) and are made again", path, error)
        return None
    if stored.metadata.get('sha256') != tensors_sha256([stored.text_KD, stored.row_keys]):
        logger.warning("cached text embeddings '%s' do not match their checksum and are made again", path)
        return None
    return stored


def read_unchecked(path: Path) -> StoredRows | None:
    """A file's keys and free text, without reading the rows to check them; None where it is no such file."""
    try:
        return _map(path)
    except DAMAGE:
        return None


def _map(path: Path) -> StoredRows:
    (text_KD, row_keys), metadata = map_tensors(path, (TENSOR_NAME, KEYS_NAME))
    return StoredRows(text_KD, row_keys, metadata)


def write_rows(path: Path, text_KD: Tensor, row_keys: Tensor, metadata: dict[str, str]) -> None:
    """Write rows so that a reader sees the old file, the whole new file, or none.

    Args:
        path: Target; its folder is made. Concurrent writers are safe: each renames its own temporary file.
        text_KD: (K, D), any float type.
        row_keys: (K, 16) uint8.
        metadata: Kept in the file beside a SHA-256 of rows and keys.

    Raises:
        StorageError: If the folder or the file cannot be written.
    """
    try:
        write_tensors(path, {TENSOR_NAME: text_KD, KEYS_NAME: row_keys}, metadata)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise StorageError(
            f"text embeddings cannot be cached in '{path.parent}': {reason}. "
            'Free some space, choose another cache_dir, or set cache_dir=None to do without.'
        ) from error


def read_tensor(path: Path, rows: int) -> Tensor | None:
    """Read a table without keys that `write_tensor` wrote; None unless it has this many rows. Else as `read_rows`."""
    stored = read_rows(path)
    if stored is not None and len(stored.text_KD) != rows:
        logger.warning("cached text embeddings '%s' have other rows and are made again", path)
        return None
    return None if stored is None else stored.text_KD


def write_tensor(path: Path, tensor: Tensor, metadata: dict[str, str]) -> None:
    """Write a table without keys. Arguments and errors as in `write_rows`."""
    write_rows(path, tensor, torch.empty(0, KEY_BYTES, dtype=torch.uint8), metadata)
