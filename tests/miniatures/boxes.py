"""COCO, LVIS, Objects365 and VOC 2007 with boxes, instances and panoptic segments."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from miniatures.packing import HEIGHT, WIDTH, photograph, png, write_files, write_tar, write_zip

# COCO's ids run from 1 to 90 with these left out.
COCO_HOLES = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_URL = 'http://images.cocodataset.org'
VAL, TRAIN, VAL_2014 = (139, 285, 632), (9, 25), (196, 285, 632)


def class_names(dataset: str) -> tuple[str, ...]:
    import mmdet.datasets

    return tuple(getattr(mmdet.datasets, dataset).METAINFO['classes'])


def coco_categories() -> list[dict]:
    ids = [number for number in range(1, 91) if number not in COCO_HOLES]
    return [{'id': number, 'name': name} for number, name in zip(ids, class_names('CocoDataset'), strict=True)]


def image(number: int, name: str, **more: Any) -> dict:
    return {'id': number, 'file_name': name, 'width': WIDTH, 'height': HEIGHT, **more}


def box(number: int, image_id: Any, category_id: int, xywh: tuple[int, int, int, int], **more: Any) -> dict:
    """An object whose outline is its box."""
    x, y, w, h = xywh
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    fixed = {'id': number, 'image_id': image_id, 'category_id': category_id, 'bbox': list(xywh), 'area': w * h}
    return {**fixed, 'segmentation': outline, 'iscrowd': 0, **more}


def as_json(document: dict) -> bytes:
    return json.dumps({'info': {}, 'licenses': [], **document}).encode()


def pictures_zip(archives_dir: Path, part: str, numbers: tuple[int, ...], prefix: str = '') -> None:
    files = {f'{part}/{prefix}{number:012}.jpg': photograph(number) for number in numbers}
    write_zip(archives_dir / f'{part}.zip', files)


def coco_boxes(numbers: tuple[int, ...], prefix: str = '') -> dict:
    """The first picture has base and novel words of OV-COCO, the second base words, the last only others."""
    ids = {category['name']: category['id'] for category in coco_categories()}
    first, second, last = numbers[0], numbers[1 % len(numbers)], numbers[-1]
    crowd = {'segmentation': {'counts': [0, WIDTH * HEIGHT], 'size': [HEIGHT, WIDTH]}, 'iscrowd': 1}
    annotations = [
        box(1, first, ids['person'], (2, 3, 20, 30)),
        box(2, first, ids['cat'], (30, 8, 25, 25)),
        box(3, first, ids['stop sign'], (1, 1, 9, 9)),
        box(4, second, ids['car'], (5, 6, 40, 30)),
        box(5, second, ids['person'], (0, 0, WIDTH, HEIGHT), **crowd),
    ]
    if last != second:
        annotations.append(box(6, last, ids['stop sign'], (10, 10, 30, 20)))
    images = [image(number, f'{prefix}{number:012}.jpg') for number in numbers]
    return {'images': images, 'annotations': annotations, 'categories': coco_categories()}


def write_coco(archives_dir: Path) -> None:
    """COCO 2017, val and train."""
    pictures_zip(archives_dir, 'val2017', VAL)
    pictures_zip(archives_dir, 'train2017', TRAIN)
    files = {
        'annotations/instances_val2017.json': as_json(coco_boxes(VAL)),
        'annotations/instances_train2017.json': as_json(coco_boxes(TRAIN)),
    }
    write_zip(archives_dir / 'annotations_trainval2017.zip', files)


def write_coco_65_15(archives_dir: Path) -> None:
    """COCO 2014 val: the split tests on the first two pictures, not on the last."""
    pictures_zip(archives_dir, 'val2014', VAL_2014, 'COCO_val2014_')
    files = {'annotations/instances_val2014.json': as_json(coco_boxes(VAL_2014, 'COCO_val2014_'))}
    write_zip(archives_dir / 'annotations_trainval2014.zip', files)


def panoptic(names: list[str], categories: list[dict], folder: Path, ending: str = '.png') -> dict[str, bytes]:
    """A json of two segments a picture and its maps, below the files' names without their ends.

    ``ending`` is that of the maps' names in the json; the files end in .png.
    """
    images, annotations, files = [], [], {}
    for number, name in enumerate(names):
        ids_HW = np.zeros((HEIGHT, WIDTH), np.int64)
        ids_HW[5:30, 4:30], ids_HW[30:, :] = 70_000 + number, 300 + number
        rgb_HW3 = np.stack([ids_HW % 256, ids_HW // 256 % 256, ids_HW // 65536], -1).astype(np.uint8)
        files[f'{folder}/{name}.png'] = png(rgb_HW3)
        segments = [
            {'id': 70_000 + number, 'category_id': categories[0]['id'], 'area': 650, 'bbox': [4, 5, 26, 25]},
            {'id': 300 + number, 'category_id': categories[-1]['id'], 'area': 1152, 'bbox': [0, 30, WIDTH, 18]},
        ]
        image_id = int(name) if name.isdigit() else name
        images.append({**image(0, f'{name}.jpg'), 'id': image_id})
        for segment in segments:
            segment['iscrowd'] = 0
        annotations.append({'image_id': image_id, 'file_name': f'{name}{ending}', 'segments_info': segments})
    document = {'images': images, 'annotations': annotations, 'categories': categories}
    return {**files, f'{folder}.json': as_json(document)}


def write_coco_panoptic(archives_dir: Path) -> None:
    """COCO 2017 panoptic: the archive holds an archive of the maps."""
    pictures_zip(archives_dir, 'val2017', VAL)
    names = class_names('CocoPanopticDataset')
    categories = [{'id': number, 'name': name, 'isthing': int(number <= 80)} for number, name in enumerate(names, 1)]
    files = panoptic([f'{number:012}' for number in VAL], categories, Path('panoptic_val2017'))
    inner = archives_dir / 'inner' / 'panoptic_val2017.zip'
    write_zip(inner, {name: content for name, content in files.items() if name.endswith('.png')})
    outer = {
        'annotations/panoptic_val2017.json': files['panoptic_val2017.json'],
        'annotations/panoptic_val2017.zip': inner.read_bytes(),
    }
    write_zip(archives_dir / 'panoptic_annotations_trainval2017.zip', outer)
    inner.unlink()
    inner.parent.rmdir()


def lvis_boxes(places: list[str]) -> dict:
    names = class_names('LVISV1Dataset')
    categories = [
        {'id': number, 'name': name, 'synonyms': [name], 'def': name, 'frequency': 'fcr'[number % 3]}
        for number, name in enumerate(names, 1)
    ]
    images, annotations = [], []
    for place in places:
        number = int(Path(place).stem)
        lists = {'not_exhaustive_category_ids': [5], 'neg_category_ids': [7]}
        images.append(image(number, '', coco_url=f'{COCO_URL}/{place}', **lists))
        del images[-1]['file_name']
        for category in (4, 5, 6):
            annotations.append(box(len(annotations) + 1, number, category, (4 * category, 6, 20, 25)))
            del annotations[-1]['iscrowd']
    return {'images': images, 'annotations': annotations, 'categories': categories}


def write_lvis_v1(archives_dir: Path) -> None:
    """LVIS v1: two val pictures lie in val2017 and one in train2017."""
    pictures_zip(archives_dir, 'val2017', VAL)
    pictures_zip(archives_dir, 'train2017', TRAIN)
    val = [f'val2017/{VAL[0]:012}.jpg', f'train2017/{TRAIN[0]:012}.jpg', f'val2017/{VAL[1]:012}.jpg']
    for part, places in (('val', val), ('train', [f'train2017/{TRAIN[1]:012}.jpg'])):
        name = f'lvis_v1_{part}.json'
        write_zip(archives_dir / f'{name}.zip', {name: as_json(lvis_boxes(places))})


def _objects365(root: Path, version: str, ann: str, names: list[str], places: list[str]) -> None:
    categories = [
        {'id': number, 'name': name} for number, name in enumerate(class_names(f'Objects365{version}Dataset'), 1)
    ]
    images = [image(number, name) for number, name in enumerate(names, 1)]
    annotations = [box(number, number, 7 * number, (3, 4, 30, 20)) for number, _ in enumerate(names, 1)]
    document = {'images': images, 'annotations': annotations, 'categories': categories}
    write_files(root, {ann: as_json(document)})
    write_files(root, {place: photograph(seed) for seed, place in enumerate(places)})


def place_objects365_v1(root: Path) -> None:
    """Two pictures of Objects365 v1 val."""
    names = ['obj365_val_000000000001.jpg', 'obj365_val_000000000002.jpg']
    places = [f'objects365v1/val/{name}' for name in names]
    _objects365(root, 'V1', 'objects365v1/annotations/objects365_val.json', names, places)


def place_objects365_v2(root: Path) -> None:
    """Two pictures of Objects365 v2 val, in patches."""
    names = ['images/v1/patch0/objects365_v1_00000001.jpg', 'images/v2/patch16/objects365_v2_00000002.jpg']
    places = ['objects365v2/val/' + '/'.join(name.split('/')[-2:]) for name in names]
    _objects365(root, 'V2', 'objects365v2/annotations/zhiyuan_objv2_val.json', names, places)


def write_voc2007(archives_dir: Path) -> None:
    """VOC 2007 test: one ordinary and one difficult object, and a picture with one object."""
    files = {'VOCdevkit/VOC2007/ImageSets/Main/test.txt': b'000001\n000002\n'}
    objects = {1: [('dog', 0, (1, 1, 30, 48)), ('person', 1, (11, 5, 64, 40))], 2: [('car', 0, (6, 7, 25, 20))]}
    for number, entries in objects.items():
        body = ''.join(
            f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>'
            f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>'
            for name, difficult, (x1, y1, x2, y2) in entries
        )
        size = f'<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>'
        files[f'VOCdevkit/VOC2007/Annotations/{number:06}.xml'] = f'<annotation>{size}{body}</annotation>'.encode()
        files[f'VOCdevkit/VOC2007/JPEGImages/{number:06}.jpg'] = photograph(number)
    write_tar(archives_dir / 'VOCtest_06-Nov-2007.tar', files)
