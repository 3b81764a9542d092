"""COCO records of composed scenes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from vlm_dense.datasets.pictures.cutouts import PictureSource
from vlm_dense.datasets.pictures.scene import Scene
from vlm_dense.text.articles import indefinite_article

# Names that are not counted: things that come in pairs, food by the piece, and one planet.
PAIRS = frozenset({'binoculars', 'pliers', 'scissors'})
UNCOUNTED = frozenset({'broccoli', 'corn', 'garlic', 'lettuce'})
ONLY_ONE = frozenset({'planet earth'})


def noun_phrase(word: str) -> str:
    """A word as it stands in a caption: 'an apple', 'a pair of scissors', 'some corn'."""
    if word in PAIRS:
        return f'a pair of {word}'
    if word in UNCOUNTED:
        return f'some {word}'
    if word in ONLY_ONE:
        return word
    return f'{indefinite_article(word)} {word}'


def caption(words: Sequence[str]) -> str:
    """What a scene shows, in the order of the words: 'a zebra, an apple and a red star'."""
    phrases = [noun_phrase(word) for word in words]
    return phrases[0] if len(phrases) == 1 else f'{", ".join(phrases[:-1])} and {phrases[-1]}'


def scene_records(scene: Scene, words: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The image record (without id and file name) and the annotations (without ids) of a scene.

    Boxes are ``[x, y, width, height]`` of the visible pixels; masks are compressed RLE with ASCII counts.
    """
    height, width = scene.labels_HW.shape
    position = {word: label for label, word in enumerate(words)}
    image = {
        'width': width,
        'height': height,
        'license': 1,
        'caption': caption([placed.word for placed in scene.objects]),
        'background': scene.background,
    }
    annotations: list[dict[str, Any]] = []
    for placed in scene.objects:
        rle = coco_mask.encode(np.asfortranarray(placed.visible_HW, np.uint8))
        annotations.append(
            {
                'category_id': position[placed.word] + 1,
                'bbox': [float(number) for number in coco_mask.toBbox(rle)],
                'area': int(coco_mask.area(rle)),
                'segmentation': {'size': [height, width], 'counts': rle['counts'].decode('ascii')},
                'iscrowd': 0,
                'photo': placed.photo,
            }
        )
    return image, annotations


def coco_document(
    part: str,
    source: PictureSource,
    words: Sequence[str],
    seed: int,
    records: Sequence[tuple[str, dict[str, Any], list[dict[str, Any]]]],
) -> dict[str, Any]:
    """A COCO file of one part.

    Args:
        part: 'train', 'val' or 'test'.
        source: Where the cut-outs come from.
        words: The whole word list; category ids are its positions from 1.
        seed: Seed of the set.
        records: File name, image record and annotations of every scene, in order.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (file_name, image, objects) in enumerate(records, start=1):
        images.append({'id': image_id, 'file_name': file_name, **image})
        for placed in objects:
            annotations.append({'id': len(annotations) + 1, 'image_id': image_id, **placed})
    return {
        'info': {
            'description': f'Scenes composed by vlm_dense, part {part}; cut-outs: {source.origin}',
            'source': source.name,
            'seed': seed,
            'licence': f'The pictures inherit {source.licence} from their cut-outs and backgrounds.',
        },
        'licenses': [{'id': 1, 'name': source.licence, 'url': f'https://spdx.org/licenses/{source.licence}.html'}],
        'images': images,
        'annotations': annotations,
        'categories': [{'id': number, 'name': word} for number, word in enumerate(words, start=1)],
    }
