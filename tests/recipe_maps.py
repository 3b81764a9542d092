"""Made-up data with label maps for the recipes of configs/, in the layouts that they read."""

from pathlib import Path

import numpy as np
from PIL import Image
from tool_modules import ROOT, tool_module


def write_ade20k_data(root: Path) -> None:
    """ADE20K's folder with two pictures in each part."""
    folder = root / 'data' / 'ade' / 'ADEChallengeData2016'
    random = np.random.default_rng(0)
    for part in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (folder / kind / part).mkdir(parents=True)
        for number in range(2):
            picture = random.integers(0, 256, (110, 130, 3), dtype=np.uint8)
            labels = np.repeat(np.repeat(random.integers(0, 151, (11, 13), dtype=np.uint8), 10, 0), 10, 1)
            Image.fromarray(picture).save(folder / 'images' / part / f'{number}.jpg')
            Image.fromarray(labels).save(folder / 'annotations' / part / f'{number}.png')


def write_ade20k_847_data(root: Path) -> None:
    """ADE20K's folder with 847 words, two pictures in each part, and the words that training sees."""
    folder = root / 'data' / 'ade' / 'ADE20K_2021_17_01'
    random = np.random.default_rng(0)
    for part in ('training', 'validation'):
        pictures, maps = folder / 'images_detectron2' / part, folder / 'annotations_detectron2' / part
        for place in (pictures, maps):
            place.mkdir(parents=True)
        for number in range(2):
            picture = random.integers(0, 256, (110, 130, 3), dtype=np.uint8)
            labels = np.repeat(np.repeat(random.integers(0, 847, (11, 13), dtype=np.uint16), 10, 0), 10, 1)
            labels[:11], labels[11:22] = 65535, 255  # nothing, and a word
            Image.fromarray(picture).save(pictures / f'{number}.jpg')
            Image.fromarray(labels).save(maps / f'{number}.tif')
    words = ['--words', str(ROOT / 'vlm_dense/datasets/vocabularies/ade20k_847.json'), '--base', '572']
    maps = folder / 'annotations_detectron2' / 'training'
    tool_module('data/frequent_words').main([str(maps), *words, '--out', str(folder / 'words_572_275.json')])


def write_coco_stuff_data(root: Path) -> None:
    """COCO-Stuff's folder with two pictures in each part, the upper tenth of their maps ignored."""
    base = root / 'data' / 'coco_stuff164k'
    random = np.random.default_rng(0)
    for part in ('train2017', 'val2017'):
        pictures, maps = base / 'images' / part, base / 'annotations' / part
        for folder in (pictures, maps):
            folder.mkdir(parents=True)
        for number in range(2):
            picture = random.integers(0, 256, (110, 130, 3), dtype=np.uint8)
            labels = np.repeat(np.repeat(random.integers(0, 171, (11, 13), dtype=np.uint8), 10, 0), 10, 1)
            labels[:11] = 255
            Image.fromarray(picture).save(pictures / f'{number}.jpg')
            Image.fromarray(labels).save(maps / f'{number}_labelTrainIds.png')


def write_voc_data(root: Path) -> None:
    """VOC 2012's folder, beside what PASCAL-5i has there, with its augmentation: two pictures for each part."""
    base = root / 'data' / 'VOCdevkit' / 'VOC2012'
    random = np.random.default_rng(0)
    lists = base / 'ImageSets' / 'Segmentation'
    for folder in (lists, base / 'JPEGImages', base / 'SegmentationClass', base / 'SegmentationClassAug'):
        folder.mkdir(parents=True, exist_ok=True)
    for part, maps in (('trainaug', 'SegmentationClassAug'), ('val', 'SegmentationClass')):
        names = [f'{part}_{number}' for number in range(2)]
        (lists / f'{part}.txt').write_text('\n'.join(names))
        for name in names:
            picture = random.integers(0, 256, (110, 130, 3), dtype=np.uint8)
            labels = np.repeat(np.repeat(random.integers(0, 21, (11, 13), dtype=np.uint8), 10, 0), 10, 1)
            Image.fromarray(picture).save(base / 'JPEGImages' / f'{name}.jpg')
            Image.fromarray(labels).save(base / maps / f'{name}.png')
