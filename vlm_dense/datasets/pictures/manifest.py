"""What a picture set was made of, and whether a folder already holds the one that is asked for."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from vlm_dense.datasets.pictures.scene import REFERENCE_SIDE
from vlm_dense.datasets.pictures.split import PARTS
from vlm_dense.errors import ConfigError

# Raise it when the same arguments give other files than before.
VERSION = 1
SOURCES = ('auto', 'stamps', 'drawn')
SMALLEST_SIDE = 48
MANIFEST = 'manifest.json'


@dataclass(frozen=True)
class PictureRequest:
    """What to compose.

    Attributes:
        source: 'stamps', 'drawn', or 'auto': stamps, and drawn cut-outs where stamps cannot be had.
        seed: Seed of everything.
        train: Number of scenes for training.
        val: Number of scenes for choosing settings.
        test: Number of scenes for reporting.
        size: Height and width of the scenes in pixels.

    Raises:
        ConfigError: If one of them is out of range.
    """

    source: str = 'auto'
    seed: int = 0
    train: int = 300
    val: int = 60
    test: int = 150
    size: int = REFERENCE_SIDE

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ConfigError(f"source '{self.source}' is unknown; write one of {', '.join(SOURCES)}.")
        if self.size < SMALLEST_SIDE:
            raise ConfigError(f'size {self.size} is too small for scenes; use at least {SMALLEST_SIDE} pixels.')
        for name, least in (('seed', 0), ('train', 1), ('val', 1), ('test', 1)):
            if getattr(self, name) < least:
                raise ConfigError(f'{name} is {getattr(self, name)}; use at least {least}.')

    def count(self, part: str) -> int:
        """Number of scenes of a part."""
        return {'train': self.train, 'val': self.val, 'test': self.test}[part]

    @property
    def num_scenes(self) -> int:
        """Number of scenes of all parts."""
        return sum(map(self.count, PARTS))


def make_manifest(request: PictureRequest, source: str, fallback: str | None, counts: dict[str, Any]) -> dict[str, Any]:
    """What is noted beside a finished set."""
    return {
        'version': VERSION,
        'request': asdict(request),
        'lists': lists_hash(),
        'source': source,
        'fallback': fallback,
        'counts': counts,
    }


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a finished picture set, or None."""
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get('request'), dict) else None


def holds_request(out: Path, request: PictureRequest) -> bool:
    """Whether ``out`` holds the set that ``request`` would make, with all its files.

    'auto' is content with any set of photographs, and with drawn cut-outs that an earlier 'auto' had to take.
    """
    manifest = read_manifest(out)
    if manifest is None or manifest.get('version') != VERSION or manifest.get('lists') != lists_hash():
        return False
    made, used = manifest['request'], manifest.get('source')
    if any(made.get(key) != value for key, value in asdict(request).items() if key != 'source'):
        return False
    if request.source == 'auto':
        source_fits = used == 'stamps' or made.get('source') == 'auto'
    else:
        source_fits = used == request.source
    return source_fits and _all_there(out, request)


def refuse_foreign(out: Path) -> None:
    """Make sure that composing into ``out`` replaces nothing but an earlier picture set.

    Raises:
        ConfigError: If it is a file, or a folder with other contents.
    """
    if not out.exists() or read_manifest(out) is not None:
        return
    if not out.is_dir() or any(out.iterdir()):
        raise ConfigError(f'{out} exists and is not a picture set, so it is not replaced; choose another folder.')


def lists_hash() -> str:
    """Changes when the shipped lists of photographs change."""
    content = b''.join(files(__package__).joinpath(name).read_bytes() for name in ('stamps.csv', 'backgrounds.csv'))
    return hashlib.sha256(content).hexdigest()[:16]


def _all_there(out: Path, request: PictureRequest) -> bool:
    for part in PARTS:
        for kind, suffix in (('images', '.jpg'), ('labels', '.png')):
            if len(list((out / part / kind).glob(f'*{suffix}'))) != request.count(part):
                return False
    return all((out / name).is_file() for name in ('vocabulary.json', *(f'{part}.json' for part in PARTS)))
