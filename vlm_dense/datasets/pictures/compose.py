"""The built-in picture set: composed, written as a whole, and left alone when it is already there."""

import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from vlm_dense.datasets.pictures.cutouts import PictureSource
from vlm_dense.datasets.pictures.drawn import drawn_source
from vlm_dense.datasets.pictures.plan import ScenePlan, plan_scenes
from vlm_dense.datasets.pictures.records import coco_document, scene_records
from vlm_dense.datasets.pictures.scene import REFERENCE_SIDE, compose_scene
from vlm_dense.datasets.pictures.split import PARTS, Split, split_source
from vlm_dense.datasets.pictures.stamps import stamps_source
from vlm_dense.datasets.pictures.storage import atomic_folder
from vlm_dense.datasets.pictures.teacher_names import known_words
from vlm_dense.errors import ConfigError, MissingFileError

# Raise it when the same arguments give other files than before.
VERSION = 1
SOURCES = ('auto', 'stamps', 'drawn')
SMALLEST_SIDE = 48
JPEG = {'format': 'JPEG', 'quality': 92, 'subsampling': 0}
MANIFEST = 'manifest.json'
# Thread workers: decoding, resizing and encoding release Python's lock, and a fresh process would first spend
# seconds on importing torch. Scenes have their own seeds, so their number changes nothing.
WORKERS = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureRequest:
    """What to compose.

    Attributes:
        source: 'stamps', 'drawn', or 'auto': stamps, and drawn cut-outs where stamps cannot be had.
        seed: Seed of everything.
        train, val, test: Number of scenes.
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


def compose_pictures(out: Path, request: PictureRequest, cache: Path | None = None) -> dict[str, Any]:
    """Make the picture set, unless ``out`` already holds the very same one.

    ``out`` appears, or is replaced, only when everything is written.

    Args:
        out: Folder of the set.
        request: What to compose.
        cache: Folder for downloads.

    Returns:
        The manifest: ``request``, ``source`` (what was really used), ``fallback`` (why it was not stamps, or None) and
        ``counts``; ``made`` says whether anything was composed now.

    Raises:
        MissingFileError: If the photographs cannot be had and were asked for by name.
        StorageError: If the cache or ``out`` cannot be written.
    """
    found = read_manifest(out)
    if found is not None and _satisfies(found, request) and _all_there(out, request):
        return {**found, 'made': False}
    source, fallback = load_source(request.source, cache)
    split = split_source(source, known_words(source.words), request.seed)
    with atomic_folder(out, _needed_bytes(request), 'Free some room, or choose another folder.') as work:
        counts = {part: _write_part(work, part, source, split, request) for part in PARTS}
        _write_json(work / 'vocabulary.json', _vocabulary_document(source, split, request))
        manifest = {
            'version': VERSION,
            'request': asdict(request),
            'lists': _lists_hash(),
            'source': source.name,
            'fallback': fallback,
            'counts': {'words': _word_counts(split), **counts},
        }
        _write_json(work / MANIFEST, manifest)
    logger.info('composed %d scenes from source %s in %s', sum(map(request.count, PARTS)), source.name, out)
    return {**manifest, 'made': True}


def load_source(name: str, cache: Path | None = None) -> tuple[PictureSource, str | None]:
    """The cut-outs of a source, and for 'auto' why it had to be the drawn ones (else None).

    Raises:
        MissingFileError: If the photographs cannot be had and were asked for by name.
        StorageError: If the cache cannot be written.
    """
    if name == 'drawn':
        return drawn_source(), None
    try:
        return stamps_source(cache), None
    except MissingFileError as error:
        if name == 'stamps':
            raise
        logger.warning('using drawn cut-outs in place of photographs: %s', error)
        return drawn_source(), str(error)


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a finished picture set, or None."""
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _satisfies(manifest: Mapping[str, Any], request: PictureRequest) -> bool:
    wanted, made = asdict(request), dict(manifest.get('request') or {})
    source_fits = manifest.get('source') == request.source or request.source == 'auto' == made.get('source')
    if request.source == 'auto' and manifest.get('source') == 'stamps':
        source_fits = True
    same = all(made.get(key) == value for key, value in wanted.items() if key != 'source')
    return same and source_fits and manifest.get('version') == VERSION and manifest.get('lists') == _lists_hash()


def _all_there(out: Path, request: PictureRequest) -> bool:
    for part in PARTS:
        for kind, suffix in (('images', '.jpg'), ('labels', '.png')):
            if len(list((out / part / kind).glob(f'*{suffix}'))) != request.count(part):
                return False
    return all((out / name).is_file() for name in ('vocabulary.json', *(f'{part}.json' for part in PARTS)))


def _write_part(
    work: Path, part: str, source: PictureSource, split: Split, request: PictureRequest
) -> dict[str, int]:
    for kind in ('images', 'labels'):
        (work / part / kind).mkdir(parents=True)
    plans = plan_scenes(split, part, request.count(part), request.seed)

    def make(plan: ScenePlan) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
        return _write_scene(work, plan, source, split, request.size)

    with ThreadPoolExecutor(WORKERS) as pool:
        records = list(tqdm(pool.map(make, plans), f'{part} scenes', len(plans), disable=None, leave=False))
    _write_json(work / f'{part}.json', coco_document(part, source, split.words, request.seed, records))
    ids = [annotation['category_id'] for _, _, annotations in records for annotation in annotations]
    num_base = sum(number <= len(split.base) for number in ids)
    return {'scenes': len(plans), 'base_objects': num_base, 'novel_objects': len(ids) - num_base}


def _write_scene(
    work: Path, plan: ScenePlan, source: PictureSource, split: Split, side: int
) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(plan.seed)
    photos = split.photos[plan.part]
    cutouts = [photos[word][int(rng.integers(len(photos[word])))] for word in plan.words]
    names = split.backgrounds[plan.part]
    background = names[int(rng.integers(len(names)))]
    scene = compose_scene(cutouts, (background, source.backgrounds[background]), split.words, side, rng)
    stem = f'{plan.index:06d}'
    file_name = f'{plan.part}/images/{stem}.jpg'
    _write_picture(work / file_name, scene.image_HW3, JPEG)
    _write_picture(work / plan.part / 'labels' / f'{stem}.png', scene.labels_HW, {'format': 'PNG'})
    return file_name, *scene_records(scene, split.words)


def _write_picture(path: Path, pixels: np.ndarray, options: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **options)
    path.write_bytes(buffer.getvalue())


def _vocabulary_document(source: PictureSource, split: Split, request: PictureRequest) -> dict[str, Any]:
    return {
        'words': list(split.words),
        'base': list(split.base),
        'known': list(split.known),
        'source': source.name,
        'seed': request.seed,
    }


def _word_counts(split: Split) -> dict[str, int]:
    known = set(split.known)
    return {
        'all': len(split.words),
        'base': len(split.base),
        'novel': len(split.novel),
        'known_base': sum(word in known for word in split.base),
        'known_novel': sum(word in known for word in split.novel),
    }


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def _lists_hash() -> str:
    """Changes when the shipped lists of photographs change."""
    content = b''.join(files(__package__).joinpath(name).read_bytes() for name in ('stamps.csv', 'backgrounds.csv'))
    return hashlib.sha256(content).hexdigest()[:16]


def _needed_bytes(request: PictureRequest) -> int:
    """About 1 byte for each pixel: JPEG at high quality, label map and records."""
    return sum(map(request.count, PARTS)) * request.size**2

