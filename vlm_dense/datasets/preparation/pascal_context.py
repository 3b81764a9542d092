"""PASCAL Context: label maps of 59 classes and background, and of 459 classes."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from vlm_dense.datasets.preparation.check_boxes import read_document
from vlm_dense.datasets.preparation.convert_maps import convert_maps, save_map
from vlm_dense.datasets.preparation.files import is_newer, placed
from vlm_dense.datasets.preparation.workplace import Workplace
from vlm_dense.errors import DataError

VOC2010 = 'VOCdevkit/VOC2010'
MERGED = f'{VOC2010}/trainval_merged.json'
LISTS = f'{VOC2010}/ImageSets/SegmentationContext'
MAPS_59 = f'{VOC2010}/SegmentationClassContext'
MAPS_459 = f'{VOC2010}/annotations_detectron2/pc459_val'
INDICES = Path(__file__).with_name('pascal_context_59_indices.json')
CLASSES_459 = 459
MERGED_KEYS = {
    'images': ('image_id', 'file_name', 'phase', 'width', 'height'),
    'annos_segmentation': ('image_id', 'category_id', 'segmentation'),
}


def convert_context_59(work: Workplace) -> None:
    """Write maps with 0 for background and 1..59 in the order of mmseg's ``PascalContextDataset``, and the lists.

    From trainval_merged.json (run-length masks of the categories of the 459 that are among the 59, decoded with
    pycocotools), as mmseg's converter does through the ``detail`` package.
    """
    phases = ('val', 'train') if work.train else ('val',)
    if all(_is_converted(work, phase) for phase in phases):
        return
    merged = read_merged(work)
    if merged is None:
        return
    masks_of = defaultdict(list)
    for entry in merged['annos_segmentation']:
        masks_of[entry['image_id']].append(entry)
    for phase in phases:
        images = images_of(merged, phase)
        by_target = {work.root / MAPS_59 / f'{name}.png': image for name, image in images.items()}
        _convert_all(work, by_target, masks_of)
        write_list(work, phase, images)


def convert_context_459(work: Workplace) -> None:
    """Write 16-bit maps of the val pictures from the ``LabelMap`` (1..459) of the official .mat files, minus 1.

    Pixels of 0 become 65535, as in FC-CLIP; OVSeg and CAT-Seg stop at such a pixel.
    """
    path = work.root / LISTS / 'val.txt'
    if not is_newer(path, *_existing(work.root / MERGED)):
        merged = read_merged(work)
        if merged is None:
            return
        write_list(work, 'val', images_of(merged, 'val'))
    names = path.read_text(encoding='utf-8').split()
    sources = {name: work.root / VOC2010 / 'trainval' / f'{name}.mat' for name in names}
    missing = [source for source in sources.values() if not source.is_file()]
    if len(missing) < len(sources):
        work.report.defect_each('label map is missing', missing, work.remedy)
    pairs = [(source, work.root / MAPS_459 / f'{name}.tif') for name, source in sources.items() if source.is_file()]
    convert_maps(work, pairs, read_459, f'16-bit label maps in {work.root / MAPS_459}')


def read_459(mat: Path) -> np.ndarray:
    """Classes (H, W) of uint16, 0..458, and 65535 where the official map says 0.

    Raises:
        DataError: If the file holds no label map, or one with other values.
    """
    from scipy.io import loadmat  # late: only this conversion needs it

    try:
        labels_HW = loadmat(mat)['LabelMap']
    except KeyError as error:
        raise DataError(f'{mat} holds no LabelMap ({error}); get the official archive again.') from error
    if labels_HW.ndim != 2 or labels_HW.max() > CLASSES_459:
        raise DataError(f'{mat} has labels above {CLASSES_459}; get the official archive again.')
    # 0 - 1 wraps around to 65535, which is what it should become.
    return labels_HW.astype(np.uint16) - np.uint16(1)


def read_merged(work: Workplace) -> dict | None:
    """The annotation file of PASCAL Context as ``detail`` has it, or None and a defect."""
    return read_document(work, MERGED, MERGED_KEYS)


def images_of(merged: Mapping, phase: str) -> dict[str, dict]:
    """Pictures of one part by the names of their files, without ends."""
    return {Path(image['file_name']).stem: image for image in merged['images'] if image['phase'] == phase}


def write_list(work: Workplace, phase: str, names: Iterable[str]) -> None:
    """Write the sorted names of a part, one a line."""
    with placed(work.root / LISTS / f'{phase}.txt') as part:
        part.write_text(''.join(f'{name}\n' for name in sorted(names)), encoding='utf-8')


def label_map_59(image: Mapping, masks: list[dict], new_of_old: Mapping[int, int]) -> np.ndarray:
    """Draw run-length masks: (H, W) of uint8 with 0 for background and for categories outside the 59."""
    from pycocotools.mask import decode

    map_HW = np.zeros((image['height'], image['width']), np.uint8)
    for entry in masks:
        mask_HW = decode(entry['segmentation']).astype(bool)
        if mask_HW.shape != map_HW.shape:
            raise DataError(f'mask {entry.get("id")} is {mask_HW.shape}, its picture {map_HW.shape}')
        map_HW[mask_HW] = new_of_old.get(entry['category_id'], 0)
    return map_HW


def new_labels() -> dict[int, int]:
    """Label 1..59 of each of the 59 among the ids 1..459."""
    rows = json.loads(INDICES.read_text(encoding='utf-8'))['rows']
    return {index: label for label, (index, _) in enumerate(rows, 1)}


def _convert_all(work: Workplace, by_target: dict[Path, dict], masks_of: Mapping[int, list]) -> None:
    source, new_of_old, written = work.root / MERGED, new_labels(), 0
    for target, image in by_target.items():
        if is_newer(target, source):
            continue
        try:
            map_HW = label_map_59(image, masks_of[image['image_id']], new_of_old)
        except (DataError, ValueError, KeyError, TypeError) as error:
            problem = f'cannot be converted for {target.name} ({error})'
            work.report.defect(problem, source, 'get the official file again')
            continue
        save_map(map_HW, target)
        written += 1
    if written:
        work.report.made.append(f'{work.root / MAPS_59}: {written:,} label maps written')


def _is_converted(work: Workplace, phase: str) -> bool:
    path, sources = work.root / LISTS / f'{phase}.txt', _existing(work.root / MERGED)
    if not is_newer(path, *sources):
        return False
    names = path.read_text(encoding='utf-8').split()
    return all(is_newer(work.root / MAPS_59 / f'{name}.png', *sources) for name in names)


def _existing(path: Path) -> list[Path]:
    return [path] if path.is_file() else []
