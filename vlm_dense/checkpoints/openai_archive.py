"""OpenAI's CLIP files are TorchScript archives: code and weights in one zip. Only the weights are read.

``torch.jit.load`` would compile the code of the file, and torch's restricted reader refuses such files. Here the
archive's ``data.pkl`` goes through an unpickler that knows three things: tensors over the archive's own storages,
lists, and modules, which become lists of attributes without any behaviour. Whatever else a pickle names is refused.
"""

import io
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlm_dense.errors import CheckpointError

STORAGES = {
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'DoubleStorage': torch.float64,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
}
LISTS = ('build_intlist', 'build_tensorlist', 'build_doublelist', 'build_boollist')
# OpenAI's own models carry these three numbers as buffers; archives that others traced do not.
NUMBERS = ('input_resolution', 'context_length', 'vocab_size')


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.count('/') == 1 and name.endswith('/constants.pkl') for name in archive.namelist())


def is_openai_archive(path: Path) -> bool:
    """Whether a TorchScript archive comes from OpenAI; nothing is unpickled."""
    if not is_archive(path):
        return False
    with zipfile.ZipFile(path) as archive:
        content = archive.read(_root(archive, path) + 'data.pkl')
    return all(name.encode() in content for name in NUMBERS)


def read_archive(path: Path) -> dict[str, Tensor]:
    """All tensors of a TorchScript archive by their names as attributes, half precision as float32.

    Raises:
        CheckpointError: If the archive is damaged, or its pickle names anything but tensors and modules.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = _root(archive, path)
            written = (
                archive.read(root + 'byteorder').decode() if root + 'byteorder' in archive.namelist() else 'little'
            )
            if written != sys.byteorder:
                raise ValueError(f'its numbers are {written}-endian')
            module = _Reader(archive, root).load()
            tensors = dict(_named_tensors(module, ''))
    except CheckpointError:
        raise
    except _Refused as error:
        raise CheckpointError(
            f"'{path}' was not read: it names {error}, which is neither a tensor nor a module, and reading that could "
            "run code. Fetch the file again from where OpenAI's URL points, or ask for a safetensors file."
        ) from error
    # Damaged bytes can fail anywhere inside the unpickler, with any kind of error.
    except Exception as error:
        raise CheckpointError(
            f"'{path}' ({path.stat().st_size} bytes) cannot be read as a TorchScript archive: {error}. Copy it again."
        ) from error
    return tensors


class _Refused(Exception):
    """A name that no archive of weights needs."""


class _Module:
    """Stands for any class of the archive's code: it has attributes and does nothing."""

    attributes: dict[str, Any]

    def __new__(cls, *_: Any) -> '_Module':
        module = super().__new__(cls)
        module.attributes = {}
        return module

    def __setstate__(self, state: Any) -> None:
        self.attributes = dict(state)


class _Function:
    """The only kind of callable that a pickle gets; unlike a function it cannot be changed by the pickle."""

    __slots__ = ('__call',)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.__call = call

    def __call__(self, *arguments: Any) -> Any:
        return self.__call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused('a change to a function')


class _Reader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(root + 'data.pkl')))
        self._archive = archive
        self._root = root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.split('.')[0] == '__torch__':
            return type('_Module', (_Module,), {})  # one of its own each time, so that no pickle changes the base
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return _Function(_view)
        if (module, name) == ('collections', 'OrderedDict'):
            return _Function(dict)
        if module == 'torch' and name in STORAGES:
            return STORAGES[name]
        if module == 'torch.jit._pickle' and name in LISTS:
            return _Function(list)
        if (module, name) == ('torch.jit._pickle', 'restore_type_tag'):
            return _Function(_first)
        raise _Refused(f'{module}.{name}')

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count = pid
        if kind != 'storage' or not isinstance(dtype, torch.dtype):
            raise _Refused(f'a stored {kind}')
        if key not in self._storages:
            self._storages[key] = self._read_storage(str(key), dtype, int(count))
        return self._storages[key]

    def _read_storage(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        entry = self._archive.getinfo(f'{self._root}data/{key}')
        if entry.file_size != count * dtype.itemsize:
            raise ValueError(f'storage {key} has {entry.file_size} bytes instead of {count * dtype.itemsize}')
        content = bytearray(self._archive.read(entry))
        stored = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return stored.float() if dtype in (torch.float16, torch.bfloat16) else stored


def _view(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)  # torch checks the bounds


def _first(value: Any, type_tag: str) -> Any:
    return value


def _named_tensors(value: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, _Module):
        for name, part in value.attributes.items():
            yield from _named_tensors(part, f'{prefix}.{name}' if prefix else str(name))


def _root(archive: zipfile.ZipFile, path: Path) -> str:
    roots = [name.removesuffix('data.pkl') for name in archive.namelist() if name.endswith('/data.pkl')]
    roots = [root for root in roots if root.count('/') == 1]
    if len(roots) != 1:
        raise CheckpointError(f"'{path}' is not a TorchScript archive: it has {len(roots)} data.pkl. Copy it again.")
    return roots[0]
