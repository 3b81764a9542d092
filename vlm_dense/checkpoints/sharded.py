"""Weights in several files, listed in an index."""

import hashlib
import json
from pathlib import Path

from vlm_dense.checkpoints.packages import file_sha256
from vlm_dense.errors import CheckpointError, MissingFileError

INDEX_SUFFIX = '.index.json'


def is_index(path: Path) -> bool:
    """Whether a file lists the files of weights, as ``model.safetensors.index.json`` does."""
    return path.name.endswith(INDEX_SUFFIX)


def shards_of(index: Path) -> list[Path]:
    """The files that an index names, in order of their names.

    Raises:
        CheckpointError: If the index is damaged, or names files outside its folder.
        MissingFileError: If one of the files is missing.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding='utf-8'))['weight_map'].values()))
        is_plain = all(Path(name).name == name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"'{index}' is not an index of weights ({error!r}). Copy it again.") from error
    if not names or not is_plain:
        raise CheckpointError(f"'{index}' must name files of its own folder, not {names}. Copy it again.")
    lacking = [name for name in names if not (index.parent / name).is_file()]
    if lacking:
        raise MissingFileError(f"'{index}' names files that are not beside it: {', '.join(lacking)}. Copy them too.")
    return [index.parent / name for name in names]


def weights_sha256(path: Path) -> str:
    """SHA-256 of a file of weights; of an index, that of all its files."""
    if not is_index(path):
        return file_sha256(path)
    digests = ''.join(file_sha256(shard) for shard in shards_of(path))
    return hashlib.sha256(digests.encode()).hexdigest()
