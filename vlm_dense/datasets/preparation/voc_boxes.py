"""PASCAL VOC 2007 test in COCO's form."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from vlm_dense.datasets.preparation.check_maps import listed_names
from vlm_dense.datasets.preparation.class_lists import class_list
from vlm_dense.datasets.preparation.files import is_newer, placed
from vlm_dense.datasets.preparation.workplace import Workplace

VOC2007 = 'VOCdevkit/VOC2007'
TEST = f'{VOC2007}/annotations/voc07_test.json'
NAMES = f'{VOC2007}/ImageSets/Main/test.txt'


def convert_voc2007(work: Workplace) -> None:
    """Write the boxes of the test part; ids of categories are 1..20, an image's id is the number of its file.

    Boxes count pixels from 1 and include both ends, so x, y, width, height are xmin - 1, ymin - 1, xmax - xmin + 1,
    ymax - ymin + 1, the box whose area VOC's own evaluation uses. A difficult object neither helps nor hurts in VOC's
    evaluation: it gets ``iscrowd`` (which COCO's evaluation goes by, and which mmdet's converter sets too) and
    ``ignore``. What is left different: COCO's overlap with a crowd is taken over the detection's area alone.
    """
    listed = listed_names(work, NAMES)
    if listed is None:
        return
    sources = [work.root / VOC2007 / 'Annotations' / f'{name}.xml' for name in listed]
    if is_newer(work.root / TEST, work.root / NAMES, *(path for path in sources if path.is_file())):
        return
    classes = {name: number for number, name in enumerate(class_list('mmdet:VOCDataset'), 1)}
    document: dict[str, list] = {'images': [], 'annotations': []}
    good = True
    for path in sources:
        try:
            _add_picture(document, path, classes)
        except (OSError, ElementTree.ParseError, KeyError, ValueError, AttributeError, TypeError) as error:
            work.report.defect(f'cannot be converted ({error!r})', path, 'get the official archive again')
            good = False
    if good:
        categories = [{'id': number, 'name': name} for name, number in classes.items()]
        with placed(work.root / TEST) as part:
            part.write_text(json.dumps({**document, 'categories': categories}), encoding='utf-8')
        work.report.made.append(f'{work.root / TEST}: {len(document["images"]):,} pictures')


def _add_picture(document: dict[str, list], path: Path, classes: dict[str, int]) -> None:
    tree = ElementTree.parse(path).getroot()
    image_id = int(path.stem)
    width, height = (int(_text(tree, f'size/{side}')) for side in ('width', 'height'))
    image = {'id': image_id, 'file_name': f'{path.stem}.jpg', 'width': width, 'height': height}
    document['images'].append(image)
    for entry in tree.findall('object'):
        left, top, right, bottom = (int(_text(entry, f'bndbox/{end}')) for end in ('xmin', 'ymin', 'xmax', 'ymax'))
        box = [left - 1, top - 1, right - left + 1, bottom - top + 1]
        difficult = int(entry.findtext('difficult') or 0)
        annotation = {
            'id': len(document['annotations']) + 1,
            'image_id': image_id,
            'category_id': classes[_text(entry, 'name')],
            'bbox': box,
            'area': box[2] * box[3],
            'iscrowd': difficult,
            'ignore': difficult,
        }
        document['annotations'].append(annotation)


def _text(tree: ElementTree.Element, place: str) -> str:
    text = tree.findtext(place)
    if text is None:
        raise ValueError(f'no {place}')
    return text.strip()
