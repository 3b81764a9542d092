"""One tensor per file on disk, written whole or not at all, and checked when read."""

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from vlm_dense.errors import StorageError

TENSOR_NAME = 'text_KD'

logger = logging.getLogger(__name__)


def read_tensor(path: Path, rows: int) -> torch.Tensor | None:
    """Read a tensor that `write_tensor` wrote.

    Args:
        path: File of the cache.
        rows: The number of rows it must have.

    Returns:
        The tensor, (rows, D) float32 on the CPU, or None where there is no file or where it is damaged (then a
        warning is logged, and the caller builds the tensor again).

    Raises:
        StorageError: If the file exists but may not be read.
    """
    if not path.is_file():
        return None
    try:
        # One read: a name that is opened twice may belong to two files when another process replaces it.
        content = path.read_bytes()
        # A copy has the alignment of fresh tensors, so that products with it are the same to the last bit.
        tensor = load(content)[TENSOR_NAME].clone()
        expected = _metadata(content).get('sha256')
    except PermissionError as error:
        raise StorageError(f"'{path}' may not be read. Correct its permissions, or set cache_dir=None.") from error
    except (SafetensorError, KeyError, OSError) as error:
        logger.warning("cached text embeddings '%s' are damaged (%s) and are made again", path, error)
        return None
    if tensor.ndim != 2 or len(tensor) != rows or expected != tensor_sha256(tensor):
        logger.warning("cached text embeddings '%s' do not match their checksum and are made again", path)
        return None
    return tensor


def write_tensor(path: Path, tensor: torch.Tensor, metadata: dict[str, str]) -> None:
    """Write a tensor so that a reader sees the old file, the whole new file, or none.

    Args:
        path: Target; its folder is made. Concurrent writers are safe: each renames its own temporary file.
        tensor: (N, D) float32.
        metadata: Kept in the file beside the tensor's SHA-256.

    Raises:
        StorageError: If the folder or the file cannot be written.
    """
    content = save({TENSOR_NAME: tensor.contiguous()}, {**metadata, 'sha256': tensor_sha256(tensor)})
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.stem[:16]}-', suffix='.tmp')
        with os.fdopen(handle, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise StorageError(
            f"text embeddings cannot be cached in '{path.parent}': {error.strerror or error}. "
            'Free some space, choose another cache_dir, or set cache_dir=None to do without.'
        ) from error


def tensor_sha256(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's shape and values, as 64 hex digits."""
    digest = hashlib.sha256(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
    digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _metadata(content: bytes) -> dict[str, str]:
    """The free part of a safetensors header: 8 bytes of length, little endian, then JSON."""
    length = int.from_bytes(content[:8], 'little')
    return dict(json.loads(content[8 : 8 + length]).get('__metadata__', {}))
