"""A clean COCO file and the defects that tests plant in it; each needs its own records, so all fit into one file."""

import copy
from collections.abc import Callable

import numpy as np
from pycocotools import mask as mask_utils

WORDS = ('cat', 'dog', 'garden gnome', 'traffic light', 'wombat')
WIDTH, HEIGHT = 60, 40


def clean_coco(pictures: int = 40) -> dict:
    """Pictures 0.png, 1.png, ... with two objects each, one a polygon and one an RLE, compressed in every other."""
    categories = [dict(id=10 * row + 1, name=name) for row, name in enumerate(WORDS)]
    content: dict = dict(images=[], annotations=[], categories=categories)
    for number in range(pictures):
        content['images'].append(dict(id=number + 100, file_name=f'{number}.png', width=WIDTH, height=HEIGHT))
        square = [5, 5, 25, 5, 25, 25, 5, 25]
        for offset, mask in enumerate(([square], rle(number % 2 == 0))):
            box = [5, 5, 20, 20]
            identity, category = 2 * number + offset + 1, categories[number % len(WORDS)]['id']
            record = dict(id=identity, image_id=number + 100, category_id=category, bbox=box, segmentation=mask)
            content['annotations'].append(dict(record, area=400, iscrowd=0))
    return content


def rle(compressed: bool, width: int = WIDTH, height: int = HEIGHT, filled: bool = True) -> dict:
    """A rectangle of pixels, or none."""
    pixels_HW = np.zeros((height, width), np.uint8, order='F')
    pixels_HW[5:25, 5:25] = filled
    encoded = mask_utils.encode(pixels_HW)
    if compressed:
        return dict(size=[height, width], counts=encoded['counts'].decode())
    flat = pixels_HW.ravel(order='F')
    edges = np.flatnonzero(np.diff(flat)) + 1
    # The picture's first pixel is empty, so the first run is too.
    return dict(size=[height, width], counts=np.diff([0, *edges.tolist(), len(flat)]).tolist())


def _annotation(**fields: object) -> Callable[[dict, int], None]:
    return lambda content, row: content['annotations'][2 * row].update(fields)


def _image(**fields: object) -> Callable[[dict, int], None]:
    return lambda content, row: content['images'][row].update(fields)


def _without(key: str) -> Callable[[dict, int], object]:
    return lambda content, row: content['annotations'][2 * row].pop(key)


def _append(part: str, change: Callable[[dict], dict]) -> Callable[[dict, int], None]:
    # The second object of a picture: the first one may carry another defect.
    step, offset = (2, 1) if part == 'annotations' else (1, 0)
    return lambda content, row: content[part].append(change(copy.deepcopy(content[part][step * row + offset])))


# Kind, and what is done to the record at a row of the clean file.
PLANTS: list[tuple[str, Callable[[dict, int], object]]] = [
    ('no-record', lambda content, row: content['annotations'].append('text')),
    ('missing-field', _without('bbox')),
    ('missing-field', _without('category_id')),
    ('missing-field', _without('segmentation')),
    ('id-not-integer', _append('annotations', lambda record: record | dict(id='one'))),
    ('id-not-integer', _append('images', lambda record: record | dict(id=1.5, file_name='half.png'))),
    ('id-not-integer', _append('annotations', lambda record: record | dict(id=5001, image_id=True))),
    ('duplicate-annotation-id', _append('annotations', lambda record: record)),
    ('duplicate-image-id', _append('images', lambda record: record | dict(file_name='other.png'))),
    ('duplicate-category-id', lambda content, row: content['categories'].append(dict(id=11, name='toaster'))),
    ('duplicate-picture', _append('images', lambda record: record | dict(id=9000))),
    ('unknown-image', _append('annotations', lambda record: record | dict(id=5002, image_id=7))),
    ('unknown-category', _append('annotations', lambda record: record | dict(id=5003, category_id=7))),
    ('name-not-text', lambda content, row: content['categories'].append(dict(id=501, name=' '))),
    ('duplicate-name', lambda content, row: content['categories'].append(dict(id=502, name='WOMBAT'))),
    ('picture-size-unusable', _append('images', lambda r: r | dict(id=9001, file_name='flat.png', height=0))),
    ('box-not-numbers', _annotation(bbox=[5, 5, float('nan'), 20])),
    ('box-not-numbers', _annotation(bbox=[5, 5, 20])),
    ('box-not-numbers', _annotation(bbox=[5, 5, '20', 20])),
    ('box-without-area', _annotation(bbox=[5, 5, 0, 20])),
    ('box-without-area', _annotation(bbox=[5, 5, 20, -1])),
    ('box-outside-picture', _annotation(bbox=[45, 5, 20, 20])),
    ('box-outside-picture', _annotation(bbox=[-5, 5, 20, 20])),
    ('empty-mask', _annotation(segmentation=[])),
    ('empty-mask', _annotation(segmentation=[[5, 5, 5, 5, 5, 5]])),
    ('empty-mask', _annotation(segmentation=[[1e12, 5, 2e12, 5, 2e12, 25]])),
    ('empty-mask', _annotation(segmentation=rle(True, filled=False))),
    ('empty-mask', _annotation(segmentation=rle(False, filled=False))),
    ('mask-size-differs', _annotation(segmentation=rle(True, HEIGHT, WIDTH))),
    ('mask-size-differs', _annotation(segmentation=rle(False, WIDTH + 1, HEIGHT))),
    ('mask-unreadable', _annotation(segmentation=[[5, 5, 25, 25]])),
    ('mask-unreadable', _annotation(segmentation=[[5, 5, 25, 5, 25, 25, 5]])),
    ('mask-unreadable', _annotation(segmentation=[[5, 5, 25, 5, 25, 'x']])),
    ('mask-unreadable', _annotation(segmentation=dict(size=[HEIGHT, WIDTH], counts=rle(True)['counts'][:-3]))),
    ('mask-unreadable', _annotation(segmentation=dict(size=[HEIGHT, WIDTH], counts=rle(True)['counts'][:-1] + 'o'))),
    ('mask-unreadable', _annotation(segmentation=dict(size=[HEIGHT, WIDTH], counts=[5, 5]))),
    ('mask-unreadable', _annotation(segmentation='mask.png')),
]


JUNK = (None, True, -1, 1.5, float('inf'), '', 'text', [], [None], [[1]], {}, {'size': 3}, 10**30, 10**400)


def put_junk(content: dict | list, generator: np.random.Generator) -> None:
    """Replace something anywhere below ``content``."""
    spot = content
    while True:
        keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
        key = keys[generator.integers(len(keys))]
        if not isinstance(spot[key], dict | list) or not spot[key] or generator.random() < 0.3:
            break
        spot = spot[key]
    spot[key] = copy.deepcopy(JUNK[generator.integers(len(JUNK))])
