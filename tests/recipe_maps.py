"""Made-up data with label maps for the recipes of configs/, in the layouts that they read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tool_modules import ROOT, tool_module


def write_ade20k_data(root: Path) -> None:
    """ADE20K's folder with two pictures in each part."""
    folder = root / 'data' / 'ade' / 'ADEChallengeData2016'
    random = np.random.default_rng(0)
    for part in ('training', 'validation'):
        for number in range(2):
            picture, labels = (folder / kind / part / str(number) for kind in ('images', 'annotations'))
            write_scene(random, f'{picture}.jpg', f'{labels}.png', values=151)


def write_ade20k_847_data(root: Path) -> None:
    """ADE20K's folder with 847 words, two pictures in each part, and the words that training sees."""
    folder = root / 'data' / 'ade' / 'ADE20K_2021_17_01'
    random = np.random.default_rng(0)
    for part in ('training', 'validation'):
        for number in range(2):
            picture, labels = (folder / f'{kind}_detectron2' / part / str(number) for kind in ('images', 'annotations'))
            # Nothing, and a word.
            write_scene(random, f'{picture}.jpg', f'{labels}.tif', values=847, bands=(65535, 255))
    words = ['--words', str(ROOT / 'vlm_dense/datasets/vocabularies/ade20k_847.json'), '--base', '572']
    maps = folder / 'annotations_detectron2' / 'training'
    tool_module('data/frequent_words').main([str(maps), *words, '--out', str(folder / 'words_572_275.json')])


def write_coco_stuff_data(root: Path) -> None:
    """COCO-Stuff's folder with two pictures in each part, the upper tenth of their maps ignored."""
    base = root / 'data' / 'coco_stuff164k'
    random = np.random.default_rng(0)
    for part in ('train2017', 'val2017'):
        for number in range(2):
            picture, labels = (base / kind / part / str(number) for kind in ('images', 'annotations'))
            write_scene(random, f'{picture}.jpg', f'{labels}_labelTrainIds.png', values=171, bands=(255,))


def write_voc_data(root: Path) -> None:
    """VOC 2012's folder, beside what PASCAL-5i has there, with its augmentation: two pictures for each part."""
    base = root / 'data' / 'VOCdevkit' / 'VOC2012'
    random = np.random.default_rng(0)
    lists = base / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True, exist_ok=True)
    for part, maps in (('trainaug', 'SegmentationClassAug'), ('val', 'SegmentationClass')):
        names = [f'{part}_{number}' for number in range(2)]
        (lists / f'{part}.txt').write_text('\n'.join(names))
        for name in names:
            write_scene(random, base / 'JPEGImages' / f'{name}.jpg', base / maps / f'{name}.png', values=21)


def write_scene(
    random: np.random.Generator, picture: str | Path, labels: str | Path, values: int, bands: Sequence[int] = ()
) -> None:
    """A picture of noise, and a map of blocks with labels below ``values`` under a band of each label in ``bands``."""
    for path in (picture, labels):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.integers(0, 256, (110, 130, 3), dtype=np.uint8)).save(picture)
    blocks = random.integers(0, values, (11, 13), dtype=np.uint16 if values > 256 else np.uint8)
    labels_HW = np.repeat(np.repeat(blocks, 10, 0), 10, 1)
    for number, label in enumerate(bands):
        labels_HW[11 * number : 11 * number + 11] = label
    Image.fromarray(labels_HW).save(labels)
