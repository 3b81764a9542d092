"""The built-in picture set: composed, written as a whole, and left alone when it is already there."""

import io
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from vlm_dense.datasets.pictures.captions_odvg import write_missing_odvg
from vlm_dense.datasets.pictures.cutouts import PictureSource
from vlm_dense.datasets.pictures.drawn import drawn_source
from vlm_dense.datasets.pictures.manifest import (
    MANIFEST,
    PictureRequest,
    holds_request,
    make_manifest,
    read_manifest,
    refuse_foreign,
)
from vlm_dense.datasets.pictures.plan import ScenePlan, plan_scenes
from vlm_dense.datasets.pictures.records import coco_document, scene_records
from vlm_dense.datasets.pictures.scene import compose_scene
from vlm_dense.datasets.pictures.split import PARTS, Split, split_source
from vlm_dense.datasets.pictures.stamps import stamps_source
from vlm_dense.datasets.pictures.storage import atomic_folder, storage_errors
from vlm_dense.datasets.pictures.teacher_names import known_words
from vlm_dense.errors import MissingFileError

JPEG = {'format': 'JPEG', 'quality': 92, 'subsampling': 0}
# Threads: resizing and encoding release Python's lock, and a fresh process would first spend seconds on importing
# torch. Every scene has its own seed, so the number of workers changes nothing.
WORKERS = 2
CAPTION_BYTES = 600  # of a scene's ODVG line
ROOM = 'Free some room, or choose another folder.'

Records = tuple[str, dict[str, Any], list[dict[str, Any]]]
logger = logging.getLogger(__name__)


def compose_pictures(
    out: Path, request: PictureRequest, cache: Path | None = None, workers: int = WORKERS
) -> dict[str, Any]:
    """Make the picture set, unless ``out`` already holds the very same one.

    ``out`` appears, or is replaced, only when everything is written. A set without the ODVG files of its captions, as
    earlier versions made it, gets them.

    Args:
        out: Folder of the set.
        request: What to compose.
        cache: Folder for downloads.
        workers: Number of threads; the result does not depend on it.

    Returns:
        The manifest: ``request``, ``source`` (what was really used), ``fallback`` (why it was not stamps, or None) and
        ``counts``; ``made`` says whether anything was composed now.

    Raises:
        MissingFileError: If the photographs cannot be had and were asked for by name.
        StorageError: If the cache or ``out`` cannot be written.
        ConfigError: If ``out`` holds something else than a picture set.
    """
    found = read_manifest(out)
    if found is not None and holds_request(out, request):
        with storage_errors(out, CAPTION_BYTES * request.num_scenes, ROOM):
            write_missing_odvg(out)
        return {**found, 'made': False}
    refuse_foreign(out)
    source, fallback = load_source(request.source, cache)
    split = split_source(source, known_words(source.words), request.seed)
    # About a byte for each pixel: JPEG at high quality, label map and records.
    needed_bytes = request.num_scenes * request.size**2
    with atomic_folder(out, needed_bytes, ROOM) as work:
        counts: dict[str, Any] = {'words': word_counts(split)}
        for part in PARTS:
            counts[part] = _write_part(work, part, source, split, request, workers)
        write_missing_odvg(work)
        _write_json(work / 'vocabulary.json', _vocabulary_document(source, split, request))
        manifest = make_manifest(request, source.name, fallback, counts)
        _write_json(work / MANIFEST, manifest)
    logger.info('composed %d scenes from source %s in %s', request.num_scenes, source.name, out)
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


def word_counts(split: Split) -> dict[str, int]:
    """Number of words, and of those that the image teacher was trained on, by base and novel."""
    known = set(split.known)
    return {
        'all': len(split.words),
        'base': len(split.base),
        'novel': len(split.novel),
        'known_base': sum(word in known for word in split.base),
        'known_novel': sum(word in known for word in split.novel),
    }


def _write_part(
    work: Path, part: str, source: PictureSource, split: Split, request: PictureRequest, workers: int
) -> dict[str, int]:
    for kind in ('images', 'labels'):
        (work / part / kind).mkdir(parents=True)
    plans = plan_scenes(split, part, request.count(part), request.seed)

    def make(plan: ScenePlan) -> Records:
        return _write_scene(work, plan, source, split, request.size)

    with ThreadPoolExecutor(workers) as pool:
        scenes = pool.map(make, plans)
        try:
            records = list(tqdm(scenes, f'{part} scenes', len(plans), disable=None, leave=False))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _write_json(work / f'{part}.json', coco_document(part, source, split.words, request.seed, records))
    ids = [annotation['category_id'] for _, _, annotations in records for annotation in annotations]
    num_base = sum(number <= len(split.base) for number in ids)
    return {'scenes': len(plans), 'base_objects': num_base, 'novel_objects': len(ids) - num_base}


def _write_scene(work: Path, plan: ScenePlan, source: PictureSource, split: Split, side: int) -> Records:
    rng = np.random.default_rng(plan.seed)
    photos = split.photos[plan.part]
    cutouts = [photos[word][int(rng.integers(len(photos[word])))] for word in plan.words]
    names = split.backgrounds[plan.part]
    background = names[int(rng.integers(len(names)))]
    scene = compose_scene(cutouts, (background, source.backgrounds[background]), split.words, side, rng)
    file_name = f'{plan.part}/images/{plan.index:06d}.jpg'
    _write_picture(work / file_name, scene.image_HW3, JPEG)
    _write_picture(work / plan.part / 'labels' / f'{plan.index:06d}.png', scene.labels_HW, {'format': 'PNG'})
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


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
