"""PASCAL-5i, COCO-20i and FSS-1000: every fold has pictures to test on and pictures to learn from."""

import io
from pathlib import Path

import numpy as np

from miniatures.boxes import as_json, box, coco_categories, image
from miniatures.packing import blocks_map, photograph, png, write_tar, write_zip

VOC_VAL = tuple(f'2007_{number:06}' for number in range(1, 9))
VOC_TRAIN, VOC_SBD = '2008_000001', tuple(f'2009_{number:06}' for number in range(1, 5))
COCO_VAL, COCO_TRAIN, COCO_SIDE = (196, 285, 632, 724), (9, 25, 30, 34), 320
FSS_CLASSES = ('ab_wheel', 'acorn', 'adidas_logo1', 'zebra', 'zucchini')


def voc_map(fold: int, number: int = 0) -> np.ndarray:
    """Three quarters of a class of the fold, the rest nothing, ignored, and little of a class of the next fold."""
    main, other = 5 * fold + 1 + number % 5, (5 * fold + 6) % 20
    return blocks_map([0, *[main] * 9, 255, other])


def write_pascal5i(archives_dir: Path) -> None:
    """VOC 2012 with two val pictures for each fold, and SBD with one picture for each; SBD has a val picture too."""
    from scipy.io import savemat

    sets, root = 'VOCdevkit/VOC2012/ImageSets/Segmentation', 'VOCdevkit/VOC2012'
    files = {f'{sets}/val.txt': '\n'.join(VOC_VAL).encode(), f'{sets}/train.txt': VOC_TRAIN.encode()}
    for row, name in enumerate((*VOC_VAL, VOC_TRAIN)):
        files[f'{root}/SegmentationClass/{name}.png'] = png(voc_map(row % 4, row // 4))
    for row, name in enumerate((*VOC_VAL, VOC_TRAIN, *VOC_SBD)):
        files[f'{root}/JPEGImages/{name}.jpg'] = photograph(row)
    write_tar(archives_dir / 'VOCtrainval_11-May-2012.tar', files)
    mats = {}
    for fold, name in enumerate((*VOC_SBD, VOC_VAL[0])):
        buffer = io.BytesIO()
        labels_HW = np.where(voc_map(fold % 4, 4) == 255, 0, voc_map(fold % 4, 4))
        boundaries = np.zeros((20, 1), object)
        savemat(buffer, {'GTcls': {'Segmentation': labels_HW, 'Boundaries': boundaries}})
        mats[f'benchmark_RELEASE/dataset/cls/{name}.mat'] = buffer.getvalue()
    write_tar(archives_dir / 'benchmark.tgz', mats)


def coco_objects(numbers: tuple[int, ...], prefix: str) -> dict:
    """Picture i shows all classes of fold i, 64 x 64 pixels each; a small object lies on the first, listed before it.

    Below them the first picture has a group of the last class, which is also behind everything else.
    """
    ids = [category['id'] for category in coco_categories()]
    images, annotations = [], []
    for fold, number in enumerate(numbers):
        images.append({**image(number, f'{prefix}{number:012}.jpg'), 'width': COCO_SIDE, 'height': COCO_SIDE})
        places = [(64 * (row % 5), 64 * (row // 5), 64, 64) for row in range(20)]
        objects = [(ids[(fold + 1) % 4], (20, 10, 10, 10)), *zip(ids[fold::4], places, strict=True)]
        annotations += [box(100 * fold + row, number, own, xywh) for row, (own, xywh) in enumerate(objects)]
    crowd = {'segmentation': {'counts': [0, COCO_SIDE**2], 'size': [COCO_SIDE] * 2}, 'iscrowd': 1}
    annotations.append(box(999, numbers[0], ids[79], (0, 0, COCO_SIDE, COCO_SIDE), **crowd))
    return {'images': images, 'annotations': annotations, 'categories': coco_categories()}


def write_coco20i(archives_dir: Path) -> None:
    """COCO 2014, val and train, each with a picture for every fold."""
    files = {}
    for part, numbers in (('val2014', COCO_VAL), ('train2014', COCO_TRAIN)):
        prefix = f'COCO_{part}_'
        pictures = {f'{part}/{prefix}{n:012}.jpg': photograph(n, COCO_SIDE, COCO_SIDE) for n in numbers}
        write_zip(archives_dir / f'{part}.zip', pictures)
        files[f'annotations/instances_{part}.json'] = as_json(coco_objects(numbers, prefix))
    write_zip(archives_dir / 'annotations_trainval2014.zip', files)


def write_fss1000(archives_dir: Path) -> None:
    """Five classes of two pictures, their masks in colour and not quite black and white."""
    files = {}
    for row, name in enumerate(FSS_CLASSES):
        for number in (1, 2):
            grey_HW = blocks_map([3, 130 + row, 252, 0])
            files[f'fewshot_data/{name}/{number}.jpg'] = photograph(10 * row + number)
            files[f'fewshot_data/{name}/{number}.png'] = png(np.stack([grey_HW] * 3, axis=-1))
    write_zip(archives_dir / 'fewshot_data.zip', files)
