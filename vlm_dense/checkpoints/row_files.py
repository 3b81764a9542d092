"""Named tensors in one file: written whole or not at all, with a checksum, and mapped into memory when read."""

import hashlib
import json
import math
import mmap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from vlm_dense.folders import whole_file

KEY_BYTES = 16
# Products with rows at such an address are the same to the last bit as with freshly made ones.
ALIGNMENT = 64
STORED_TYPES = {
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
    'I64': torch.int64,
    'U8': torch.uint8,
}
# What `map_tensors` raises for a file that is no such file, beside OSError of the disk itself.
DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError)


class StoredTensors(NamedTuple):
    """What a file holds: tensors in the order they were asked for, and free text with their checksum."""

    tensors: list[Tensor]
    metadata: dict[str, str]

    @property
    def whole(self) -> bool:
        """Whether the tensors are those that were written; reads all of them."""
        return self.metadata.get('sha256') == tensors_sha256(self.tensors)


def map_tensors(path: Path, names: Sequence[str]) -> StoredTensors:
    """Map a safetensors file (8 bytes of length, a JSON header, then the tensors) from one handle.

    The library opens the name twice, and the two may be different files when another process replaces it. The file
    may be replaced or removed while its tensors are in use.

    Raises:
        OSError: If the disk says no.
        ValueError, KeyError, TypeError, RuntimeError: If it is no such file, see `DAMAGE`.
    """
    with open(path, 'rb') as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # torch wants memory that may be written
    start = 8 + int.from_bytes(mapped[:8], 'little')
    header = json.loads(mapped[8:start])
    tensors = []
    for name in names:
        shape, (first, last) = header[name]['shape'], header[name]['data_offsets']
        dtype = STORED_TYPES[header[name]['dtype']]
        count = math.prod(shape)
        if last - first != count * dtype.itemsize or start + last > len(mapped):
            raise ValueError(f'{name} is cut short')
        tensor = torch.frombuffer(mapped, dtype=dtype, count=count, offset=start + first) if count else torch.empty(0)
        tensors.append(tensor.to(dtype).view(shape))
    return StoredTensors(tensors, dict(header.get('__metadata__', {})))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors so that a reader sees the old file, the whole new file, or none.

    Args:
        path: Target; its folder is made. Concurrent writers are safe: each renames its own temporary file.
        tensors: By name, in the order in which `map_tensors` is asked for them.
        metadata: Kept in the file beside a SHA-256 of the tensors.

    Raises:
        OSError, safetensors.SafetensorError: If the folder or the file cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as file:
        _save_aligned(file, tensors, {**metadata, 'sha256': tensors_sha256(tensors.values())})


def tensors_sha256(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of shapes, types and bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _save_aligned(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Save with the first tensor at a multiple of ALIGNMENT, by filling the header up."""
    save_file(tensors, path, metadata)
    with open(path, 'rb') as file:
        start = 8 + int.from_bytes(file.read(8), 'little')
    missing = -start % ALIGNMENT
    if missing:
        # An entry takes '"fill":"",' itself; the header grows in steps of 8 bytes.
        save_file(tensors, path, {**metadata, 'fill': ' ' * ((missing - len('"fill":"",')) % ALIGNMENT)})
