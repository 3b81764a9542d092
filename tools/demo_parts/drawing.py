"""The pictures of the demo: test scenes with their truth, and uncut photographs asked with free words."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from demo_parts.controls import Measured
from demo_parts.report import MEANING
from torchvision.ops import nms

from vlm_dense.apis import Finder, read_picture
from vlm_dense.visualization import Panel, Section, Table, contact_sheet, draw_detections, draw_label_map, html_page

SCENES = 7  # with the photographs, an even number of rows of three panels
SHEET = 'contact_sheet.png'
MOST_BOXES = 5
SAME_PLACE = 0.4  # intersection over union
MIN_PIXELS = 300
# Photographs that ship with scikit-image, and words for each: what is there, and what is not.
PHOTOGRAPHS = {
    'chelsea.png': ('cat', 'dog', 'rabbit', 'horse'),
    'coffee.png': ('coffee cup', 'spoon', 'plate', 'bottle'),
    'rocket.jpg': ('rocket', 'lighthouse', 'tree', 'car'),
    'motorcycle_left.png': ('motorcycle', 'bicycle', 'car', 'toolbox'),
    'astronaut.png': ('astronaut', 'flag', 'space shuttle', 'dog'),
}


def draw_all(work_dir: Path, detection: Measured, segmentation: Measured) -> Path:
    """Draw boxes, masks and words on test scenes and on photographs, all on one sheet.

    Args:
        work_dir: Where the sheet goes.
        detection, segmentation: Trained methods.

    Returns:
        The path of the sheet.
    """
    detector = Finder(detection.config, detection.checkpoint)
    segmentor = Finder(segmentation.config, segmentation.checkpoint)
    words = json.loads(Path('data/pictures/vocabulary.json').read_text(encoding='utf-8'))['words']
    titles = f'{detection.method.name}: the best boxes', f'{segmentation.method.name}: words per pixel'
    panels: list[Panel] = []

    def draw(title: str, path: Path, asked: Sequence[str]) -> None:
        pictures = _drawn(read_picture(path), asked, detector, segmentor)
        panels.extend(Panel(*pair) for pair in zip((title, *titles), pictures, strict=True))

    for path, truth in _scenes():
        draw(f'truth: {", ".join(truth)}', path, words)
    folder = Path(skimage.data.__file__).parent
    for name, asked in PHOTOGRAPHS.items():
        draw(f'asked: {", ".join(asked)}', folder / name, asked)
    contact_sheet(panels, columns=6, width=320).save(work_dir / SHEET)
    return work_dir / SHEET


def _scenes() -> list[tuple[Path, list[str]]]:
    """Test scenes that hold novel words, with the words that are there."""
    root = Path('data/pictures')
    truth = json.loads((root / 'test.json').read_text(encoding='utf-8'))
    base = set(json.loads((root / 'vocabulary.json').read_text(encoding='utf-8'))['base'])
    names = {category['id']: category['name'] for category in truth['categories']}
    words: dict[int, list[str]] = {image['id']: [] for image in truth['images']}
    for annotation in truth['annotations']:
        words[annotation['image_id']].append(names[annotation['category_id']])
    novel = [image for image in truth['images'] if words[image['id']] and not base & set(words[image['id']])]
    return [(root / 'test' / 'images' / Path(i['file_name']).name, words[i['id']]) for i in novel[:SCENES]]


def _drawn(image_HW3: np.ndarray, words: Sequence[str], detector: Finder, segmentor: Finder) -> list[np.ndarray]:
    """A picture, its best boxes, and what each of its pixels is called."""
    found = detector.detect(image_HW3, words)
    # Several words may claim one place; the picture shows the best of them.
    best = nms(torch.from_numpy(found.boxes_N4), torch.from_numpy(found.scores_N), SAME_PLACE)[:MOST_BOXES].tolist()
    masks = None if found.masks_NHW is None else found.masks_NHW[best]
    names = [found.words[n] for n in best]
    boxes = draw_detections(image_HW3, found.boxes_N4[best], names, found.scores_N[best], masks)
    labels = draw_label_map(image_HW3, segmentor.segment(image_HW3, words), words, MIN_PIXELS)
    return [image_HW3, boxes, labels]


def write_page(work_dir: Path, table: Table, results: dict[str, Any]) -> None:
    """Write ``index.html`` beside the sheet."""
    what = (
        f'Pictures composed from: {results["pictures"]}. Words and teacher: {results["pair"]}. '
        f'Seed {results["seed"]}, {results["seconds"]:.0f} seconds in all.'
    )
    sections = [
        Section('Figures', [what, MEANING], [table]),
        Section(
            'Pictures',
            [
                'Three panels each: first test scenes whose objects were in no training picture; all words compete. '
                'Then uncut photographs asked with free words, some of which are not in the picture: '
                'a detector always gives its best boxes, so look at the scores.'
            ],
            figures=[(SHEET, 'picture, boxes with words and scores, words per pixel')],
        ),
    ]
    (work_dir / 'index.html').write_text(html_page('Found by words', sections), encoding='utf-8')
