"""Reading a checkpoint file without running code."""

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from vlm_dense.checkpoints.harmless import harmless_types_allowed
from vlm_dense.checkpoints.openai_archive import is_archive, read_archive
from vlm_dense.checkpoints.sharded import is_index, shards_of
from vlm_dense.errors import CheckpointError, MissingFileError

SAFETENSORS = '.safetensors'
NAMED_TYPE = re.compile(r'GLOBAL (\S+)')


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = None) -> dict[str, Any]:
    """Read a ``.pth`` (any file of ``torch.save``), a ``.safetensors``, an index of either, or an OpenAI archive.

    Args:
        path: File; ``~`` is expanded.
        map_location: As in ``torch.load``. For safetensors a device; anything else means the CPU.

    Returns:
        What the file holds. A safetensors file gives ``{'state_dict': tensors, 'meta': its header's strings}``, an
        index the tensors of all its files, a TorchScript archive ``{'state_dict': tensors}`` in float32 where half.

    Raises:
        MissingFileError: If there is no such file.
        CheckpointError: If the file would run code when read, is damaged, or holds no mapping.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        found = 'is a folder' if file.is_dir() else 'does not exist'
        raise MissingFileError(
            f"checkpoint '{file}' {found} (current folder: '{Path.cwd()}'). "
            'Give the path of a .pth or .safetensors file.'
        )
    if is_index(file):
        shards = [read_checkpoint(shard, map_location) for shard in shards_of(file)]
        return {'state_dict': {name: w for shard in shards for name, w in shard.get('state_dict', shard).items()}}
    if file.suffix == SAFETENSORS:
        return _read_safetensors(file, map_location)
    if is_archive(file):
        device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
        return {'state_dict': {name: tensor.to(device) for name, tensor in read_archive(file).items()}}
    checkpoint = _read_pickle(file, map_location)
    if not isinstance(checkpoint, dict):
        kind = type(checkpoint).__name__
        raise CheckpointError(f"'{file}' holds a {kind}, not a checkpoint; expected a mapping from names to tensors.")
    return checkpoint


def _read_safetensors(file: Path, map_location: Any) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    device = str(map_location) if isinstance(map_location, str | torch.device) else 'cpu'
    try:
        with safe_open(file, framework='pt', device=device) as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  not a mapping
            return {'state_dict': tensors, 'meta': dict(opened.metadata() or {})}
    except SafetensorError as error:
        raise CheckpointError(_damaged(file, error)) from error


def safetensors_metadata(file: Path) -> dict[str, str]:
    """The strings in the header of a safetensors file.

    Raises:
        CheckpointError: If the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework='pt') as opened:
            return dict(opened.metadata() or {})
    except SafetensorError as error:
        raise CheckpointError(_damaged(file, error)) from error


def _read_pickle(file: Path, map_location: Any) -> Any:
    if map_location is None and not torch.accelerator.is_available():
        map_location = 'cpu'  # where there is no other device, weights saved on one belong here
    with harmless_types_allowed():
        try:
            return torch.load(file, map_location=map_location, weights_only=True)
        # Damaged bytes can fail anywhere inside the unpickler, with any kind of error.
        except Exception as error:
            refused = refused_types(file, str(error))
            raise CheckpointError(_would_run_code(file, refused) if refused else _damaged(file, error)) from error


def refused_types(file: Path, message: str) -> list[str]:
    """The types in a file that torch's restricted unpickler does not let in.

    Args:
        file: The checkpoint.
        message: What torch said; names the first such type.
    """
    named = NAMED_TYPE.findall(message)
    if named and zipfile.is_zipfile(file):
        try:
            named.extend(torch.serialization.get_unsafe_globals_in_checkpoint(str(file)))
        except (ValueError, RuntimeError, EOFError, LookupError) as error:
            named.extend(NAMED_TYPE.findall(str(error)))
    return sorted({name.removeprefix('builtins.') for name in named})


def _would_run_code(file: Path, refused: list[str]) -> str:
    return (
        f"'{file}' was not read: it holds {', '.join(refused)}, and reading that could run code. Ask its author for "
        'a safetensors file, or for a checkpoint with tensors only. If you trust the file, read it in a Python of '
        "your own with torch.load(..., weights_only=False) and save its 'state_dict' with safetensors."
    )


def _damaged(file: Path, error: Exception) -> str:
    # Only these two speak of the file; what the unpickler says of foreign bytes helps nobody.
    speaks = isinstance(error, RuntimeError) or type(error).__name__ == 'SafetensorError'
    reason = str(error).split('. ')[0].strip() if speaks else 'its bytes are not what torch.save writes'
    return (
        f"'{file}' ({file.stat().st_size} bytes) cannot be read as a checkpoint: {reason}. "
        'Give a .pth or .safetensors file; if it is one, copy it again, for a file cut short fails like this.'
    )
