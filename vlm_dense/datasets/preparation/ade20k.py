"""ADE20K with 847 classes: the full annotations (2021_17_01) turned into 16-bit label maps."""

import json
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from vlm_dense.datasets.label_values import IGNORED_16_BIT
from vlm_dense.datasets.preparation.convert_maps import convert_maps
from vlm_dense.datasets.preparation.files import is_newer, placed
from vlm_dense.datasets.preparation.workplace import Workplace

FULL = 'ade/ADE20K_2021_17_01'
SHORT_SIDE = 512
INDICES = Path(__file__).with_name('ade20k_847_indices.json')


def convert_ade20k_847(work: Workplace) -> None:
    """Write ``images_detectron2`` and ``annotations_detectron2`` from ``images/ADE``.

    As MaskFormer's preparation does, which CAT-Seg and others took over: the index of an object is R // 10 * 256 + G
    of ``*_seg.png``; 847 of the indices have a class, other pixels are ignored (65535); a picture whose shorter side
    exceeds 512 pixels is resized, with its map, until that side is 512 (linear, nearest).
    """
    for part, wanted in (('validation', True), ('training', work.train)):
        source = work.root / FULL / 'images' / 'ADE' / part
        if not (wanted and source.is_dir()):
            continue
        pictures = sorted(source.rglob('ADE_*.jpg'))
        maps = work.root / FULL / 'annotations_detectron2' / part
        pairs = [(path.with_name(f'{path.stem}_seg.png'), maps / f'{path.stem}.tif') for path in pictures]
        there = [pair for pair in pairs if pair[0].is_file()]
        without = [source for source, _ in pairs if not source.is_file()]
        work.report.defect_each('map of objects is missing', without, work.remedy)
        convert_maps(work, there, read_847, f'16-bit label maps in {maps}')
        for path in pictures:
            _convert_picture(work, path, work.root / FULL / 'images_detectron2' / part / path.name)


def read_847(seg: Path) -> np.ndarray:
    """Classes (H, W) of uint16 from a ``*_seg.png``, resized; 65535 where the object has no class."""
    with Image.open(seg) as image:
        seg_HW3 = np.asarray(image.convert('RGB')).astype(np.uint16)
    index_HW = seg_HW3[..., 0] // 10 * 256 + seg_HW3[..., 1]
    return resized(class_of_index()[index_HW], nearest=True)


@cache
def class_of_index() -> np.ndarray:
    """Class of every index of an ADE20K object: uint16, 65535 for those without a class."""
    rows = json.loads(INDICES.read_text(encoding='utf-8'))['rows']
    # R // 10 is at most 25, G at most 255.
    table = np.full(26 * 256, IGNORED_16_BIT, np.uint16)
    table[[index for index, _ in rows]] = np.arange(len(rows))
    return table


def resized(picture: np.ndarray, nearest: bool) -> np.ndarray:
    """A picture or map (H, W, ...) whose shorter side is at most 512 pixels."""
    import cv2  # late: only this conversion needs it

    height, width = picture.shape[:2]
    if min(height, width) <= SHORT_SIDE:
        return picture
    if width >= height:
        size = round(width / float(height) * SHORT_SIDE), SHORT_SIDE
    else:
        size = SHORT_SIDE, round(height / float(width) * SHORT_SIDE)
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR)


def _convert_picture(work: Workplace, source: Path, target: Path) -> None:
    if is_newer(target, source):
        return
    try:
        with Image.open(source) as image:
            picture = np.asarray(image)
    except Exception as error:  # see convert_maps
        work.report.defect(f'cannot be read ({error})', source, 'get the official archive again')
        return
    with placed(target) as part:
        Image.fromarray(resized(picture, nearest=False)).save(part, format='JPEG')
