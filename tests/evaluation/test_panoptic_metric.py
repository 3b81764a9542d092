"""Panoptic quality against mmdet's counting and against numbers made by hand."""

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.evaluation.functional import panoptic_utils
from PIL import Image

from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.evaluation import PanopticQualityMetric
from vlm_dense.text.vocabulary import Vocabulary

CATEGORIES = [
    dict(id=3, name='cat', isthing=1),
    dict(id=7, name='sky', isthing=0),
    dict(id=9, name='dog', isthing=1),
    dict(id=11, name='wall', isthing=0),
]
SIZE = 40


def to_rgb(ids_HW: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack([ids_HW >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8))


def scene(folder: Path, seed: int, num_pictures: int = 6) -> tuple[Path, list[np.ndarray]]:
    """Annotations with crowds and void, and predictions (label + 1000 * instance) that are partly right."""
    rng = np.random.default_rng(seed)
    (folder / 'maps').mkdir(parents=True)
    annotations, predictions = [], []
    for image in range(num_pictures):
        ids_HW = np.zeros((SIZE, SIZE), dtype=np.int64)
        found_HW = np.full((SIZE, SIZE), len(CATEGORIES))
        segments = []
        crowded: set[int] = set()
        for number in range(int(rng.integers(1, 9))):
            y, x = rng.integers(0, SIZE - 12, 2)
            h, w = rng.integers(6, 16, 2)
            label = int(rng.integers(len(CATEGORIES)))
            identity = 70000 * image + 300 * number + 1
            ids_HW[y : y + h, x : x + w] = identity
            is_crowd = bool(CATEGORIES[label]['isthing'] and rng.random() < 0.25 and label not in crowded)
            crowded |= {label} if is_crowd else set()
            segments.append(dict(id=identity, category_id=CATEGORIES[label]['id'], iscrowd=int(is_crowd)))
            if rng.random() < 0.85:
                shift = int(rng.integers(-2, 3))
                guess = label if rng.random() < 0.8 else int(rng.integers(len(CATEGORIES)))
                found_HW[max(y + shift, 0) : y + h, max(x + shift, 0) : x + w] = guess + 1000 * number
        values, areas = np.unique(ids_HW, return_counts=True)
        area_of = dict(zip(values.tolist(), areas.tolist(), strict=True))
        segments = [dict(segment, area=area_of[segment['id']]) for segment in segments if segment['id'] in area_of]
        to_rgb(ids_HW).save(folder / 'maps' / f'{image}.png')
        annotations.append(dict(image_id=image, file_name=f'{image}.png', segments_info=segments))
        predictions.append(found_HW)
    images = [dict(id=image, width=SIZE, height=SIZE, file_name=f'{image}.jpg') for image in range(num_pictures)]
    path = folder / 'panoptic.json'
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=CATEGORIES)))
    return path, predictions


def measure(path: Path, predictions: list[np.ndarray], words: list[str], base: list[str] = []) -> dict[str, float]:  # noqa: B006
    metric = PanopticQualityMetric(str(path), str(path.parent / 'maps'))
    vocabulary = Vocabulary.from_words(words, base=base)
    for image, found_HW in enumerate(predictions):
        segments = dict(sem_seg=torch.from_numpy(found_HW.copy())[None])
        metric.process({}, [dict(img_id=image, vocabulary=vocabulary, pred_panoptic_seg=segments)])
    return metric.evaluate(len(predictions))


def mmdet_counts(path: Path, predictions: list[np.ndarray], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """mmdet's own counting, with stand-ins for the two small parts that it imports from panopticapi."""

    def empty() -> SimpleNamespace:
        return SimpleNamespace(tp=0, fp=0, fn=0, iou=0.0)

    monkeypatch.setattr(panoptic_utils, 'PQStat', lambda: defaultdict(empty))
    weights = np.array([1, 256, 65536])
    monkeypatch.setattr(panoptic_utils, 'rgb2id', lambda rgb: rgb.astype(np.int64) @ weights)
    folder.mkdir()
    pairs = []
    content = json.loads(path.read_text())
    for annotation, found_HW in zip(content['annotations'], predictions, strict=True):
        void = found_HW == len(CATEGORIES)
        shown_HW = np.where(void, 0, found_HW + 1)
        to_rgb(shown_HW).save(folder / annotation['file_name'])
        segments = [
            dict(id=int(value), category_id=CATEGORIES[(int(value) - 1) % 1000]['id'])
            for value in np.unique(shown_HW[~void])
        ]
        pairs.append((annotation, dict(file_name=annotation['file_name'], segments_info=segments)))
    categories = {category['id']: category for category in CATEGORIES}
    return panoptic_utils.pq_compute_single_core(0, pairs, str(path.parent / 'maps'), str(folder), categories)


@pytest.mark.parametrize('seed', range(5))
def test_equals_the_counting_of_mmdet(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path, predictions = scene(tmp_path, seed)
    figures = measure(path, predictions, [category['name'] for category in CATEGORIES])
    stats = mmdet_counts(path, predictions, tmp_path / 'found', monkeypatch)
    for ending, kept in (('', (0, 1)), ('_th', (1,)), ('_st', (0,))):
        ones = [stats[category['id']] for category in CATEGORIES if category['isthing'] in kept]
        ones = [one for one in ones if one.tp + one.fp + one.fn]
        pq = [one.iou / (one.tp + (one.fp + one.fn) / 2) for one in ones]
        sq = [one.iou / one.tp if one.tp else 0 for one in ones]
        rq = [one.tp / (one.tp + (one.fp + one.fn) / 2) for one in ones]
        for name, values in (('pq', pq), ('sq', sq), ('rq', rq)):
            assert figures[name + ending] == pytest.approx(100 * np.mean(values), abs=1e-9)
    assert figures['pq'] > 10


def test_the_order_of_the_words_changes_nothing(tmp_path: Path) -> None:
    path, predictions = scene(tmp_path, 0)
    names = [category['name'] for category in CATEGORIES]
    order = [2, 0, 3, 1]
    moved = []
    for found_HW in predictions:
        label_HW = found_HW % 1000
        new_HW = np.array([order.index(label) for label in range(4)] + [4])[label_HW]
        moved.append(found_HW - label_HW + new_HW)
    assert measure(path, moved, [names[row] for row in order]) == pytest.approx(measure(path, predictions, names))


def test_base_and_novel_words_are_told_apart(tmp_path: Path) -> None:
    path, predictions = scene(tmp_path, 1)
    names = [category['name'] for category in CATEGORIES]
    figures = measure(path, predictions, names, base=['cat', 'dog'])
    assert figures['pq_base'] == figures['pq_th']
    assert figures['pq_novel'] == figures['pq_st']


def test_a_word_that_is_no_category_matches_nothing(tmp_path: Path) -> None:
    path, predictions = scene(tmp_path, 2)
    names = [category['name'] for category in CATEGORIES]
    as_wombats = [np.where(found_HW % 1000 == 4, 5, found_HW // 1000 * 1000 + 4) for found_HW in predictions]
    assert measure(path, as_wombats, [*names, 'wombat'])['pq'] == 0


def test_errors_name_the_thing(tmp_path: Path) -> None:
    path, predictions = scene(tmp_path, 3)
    names = [category['name'] for category in CATEGORIES]
    with pytest.raises(MissingFileError, match='do not exist'):
        PanopticQualityMetric(str(tmp_path / 'no.json'), str(tmp_path))
    with pytest.raises(DataError, match='keep the original size'):
        measure(path, [predictions[0][:20]], names)
    (tmp_path / 'maps' / '0.png').unlink()
    with pytest.raises(MissingFileError, match=r'0\.png does not exist'):
        measure(path, predictions, names)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(DataError, match=r'panoptic\.json is not COCO json'):
        PanopticQualityMetric(str(path), str(tmp_path))
