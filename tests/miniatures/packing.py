"""Pictures as bytes, and archives of named bytes."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48


def photograph(seed: int, width: int = WIDTH, height: int = HEIGHT, kind: str = 'JPEG') -> bytes:
    """A coloured picture of large blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png(array: np.ndarray) -> bytes:
    """A label map (H, W), or a picture (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, 'PNG')
    return buffer.getvalue()


def blocks_map(values: list[int], width: int = WIDTH, height: int = HEIGHT, dtype: type = np.uint8) -> np.ndarray:
    """A map (H, W) of vertical stripes of equal width, one per value."""
    columns = np.arange(width) * len(values) // width
    return np.broadcast_to(np.asarray(values, dtype)[columns], (height, width)).copy()


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """A zip; files are added to one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED) as archive:
        known = set(archive.namelist())
        for name, content in files.items():
            if name not in known:
                archive.writestr(name, content)


def write_tar(path: Path, files: Mapping[str, bytes]) -> None:
    """A tar, compressed if its name ends in gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w:gz' if path.name.endswith('gz') else 'w') as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Plain files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
