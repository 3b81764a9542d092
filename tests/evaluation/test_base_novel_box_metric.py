"""Base/novel AP against pycocotools, by name, and over processes."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from evaluation_support import coco_records, coco_scene, run_processes
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.evaluation import BaseNovelBoxMetric
from vlm_dense.registry import METRICS
from vlm_dense.text.vocabulary import Vocabulary

WORDS = tuple(f'thing {row}' for row in range(6))
BASE = ('thing 0', 'thing 2', 'thing 4')


def evaluate(ann_file, samples, words=WORDS, base=BASE, size=None, **kwargs):
    metric = BaseNovelBoxMetric(ann_file, **kwargs)
    vocabulary = Vocabulary.from_words(words, base=[word for word in base if word in words])
    metric.process({}, [dict(sample, vocabulary=vocabulary) for sample in samples])
    return metric.evaluate(len(samples) if size is None else size)


def oracle(ann_file, samples, iou_type='bbox'):
    """AP50 and AP of every word in percent from pycocotools."""
    truth = COCO(ann_file)
    results = coco_records(samples, iou_type)
    evaluation = COCOeval(truth, truth.loadRes(results), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, :, 0, 2]
    precision = np.where(precision > -1, precision, np.nan).mean(axis=1) * 100
    return precision[0], precision.mean(axis=0)


@pytest.fixture
def scene(write_json):
    truth, samples = coco_scene(0)
    return write_json(truth), samples


@pytest.mark.parametrize('seed', range(6))
def test_equals_pycocotools(seed, write_json):
    truth, samples = coco_scene(seed)
    ann_file = write_json(truth)
    figures = evaluate(ann_file, samples)
    ap50_K, ap_K = oracle(ann_file, samples)
    assert np.isnan(ap50_K[5]), 'the last category has no ground truth'
    base = np.array([word in BASE for word in WORDS])
    for name, keep in dict(base=base, novel=~base, all=base | True).items():
        assert figures[f'{name}_ap50'] == pytest.approx(np.nanmean(ap50_K[keep]), abs=1e-9)
        assert figures[f'{name}_ap'] == pytest.approx(np.nanmean(ap_K[keep]), abs=1e-9)
    assert 1 < figures['all_ap50'] < 99


def test_masks_equal_pycocotools(scene):
    ann_file, samples = scene
    for sample in samples:
        masks, rles = [], []
        for x1, y1, x2, y2 in sample['pred_instances']['bboxes'].long().tolist():
            mask = np.zeros((120, 120), dtype=np.uint8, order='F')
            mask[y1:y2, x1:x2] = 1
            masks.append(mask)
            rles.append(coco_mask.encode(mask))
        sample['pred_instances']['masks'] = rles
        sample['masks'] = masks
    figures = evaluate(ann_file, samples, iou_types=('bbox', 'segm'))
    ap50_K, ap_K = oracle(ann_file, samples, 'segm')
    assert figures['segm_all_ap50'] == pytest.approx(np.nanmean(ap50_K), abs=1e-9)
    assert figures['segm_all_ap'] == pytest.approx(np.nanmean(ap_K), abs=1e-9)
    assert figures['all_ap50'] == pytest.approx(np.nanmean(oracle(ann_file, samples)[0]), abs=1e-9)
    for sample in samples:
        sample['pred_instances']['masks'] = np.array(sample.pop('masks')).reshape(-1, 120, 120)
    assert evaluate(ann_file, samples, iou_types='segm')['segm_all_ap'] == figures['segm_all_ap']


def test_false_positives_in_pictures_without_the_class_count(write_json):
    truth, _ = coco_scene(0)
    truth['annotations'] = [dict(truth['annotations'][0], id=1, image_id=0, category_id=2, iscrowd=0)]
    x, y, w, h = truth['annotations'][0]['bbox']
    box = np.array([[x, y, x + w, y + h]])
    right = dict(img_id=0, pred_instances=dict(bboxes=box, scores=np.array([0.5]), labels=np.array([0])))
    wrong = dict(img_id=1, pred_instances=dict(bboxes=box, scores=np.array([0.9]), labels=np.array([0])))
    ann_file = write_json(truth)
    assert evaluate(ann_file, [right])['base_ap50'] == pytest.approx(100)
    assert evaluate(ann_file, [right, wrong])['base_ap50'] == pytest.approx(50)


def test_permuting_the_words_changes_nothing(scene):
    ann_file, samples = scene
    before = evaluate(ann_file, samples)
    order = [4, 2, 0, 5, 1, 3]
    place = np.argsort(order)
    permuted = copy.deepcopy(samples)
    for sample in permuted:
        sample['pred_instances']['labels'] = place[sample['pred_instances']['labels'].numpy()]
    assert evaluate(ann_file, permuted, words=[WORDS[row] for row in order]) == pytest.approx(before, nan_ok=True)


def test_distractors_are_dropped_and_reported(scene, tmp_path):
    ann_file, samples = scene
    before = evaluate(ann_file, samples)
    out_file = tmp_path / 'sub' / 'words.json'
    moved = copy.deepcopy(samples)
    for sample in moved:
        sample['pred_instances']['labels'] += 1
    assert evaluate(ann_file, moved, words=('ghost', *WORDS), out_file=str(out_file)) == before
    report = json.loads(out_file.read_text())
    rows = report['per_word']['bbox']
    assert [row['word'] for row in rows] == ['ghost', *WORDS]
    assert [row['distractor'] for row in rows] == [True] + [False] * 6
    assert rows[0]['ap50'] is None
    assert rows[6]['ap50'] is None
    assert [row['ap50'] for row in rows[1:6]] == pytest.approx(oracle(ann_file, samples)[0][:5].tolist(), abs=1e-9)
    assert report['figures']['all_ap50'] == before['all_ap50']


def test_missing_words_are_named(scene):
    ann_file, samples = scene
    for sample in samples:
        sample['pred_instances'] = {key: value[:0] for key, value in sample['pred_instances'].items()}
    words = ('thing 0', 'thing 2', 'thing_5')
    with pytest.raises(
        DataError, match=r"lacks 4: 'thing 1'.*'thing 3'.*'thing 5' \(closest word: 'thing_5'\).*allow_missing"
    ):
        evaluate(ann_file, samples, words=words)
    figures = evaluate(ann_file, samples, words=words, allow_missing=True)
    assert figures['base_ap50'] == 0
    assert math.isnan(figures['novel_ap50'])


def test_detections_nowhere_give_zero(scene):
    ann_file, samples = scene
    for sample in samples:
        sample['pred_instances'] = {key: value[:0] for key, value in sample['pred_instances'].items()}
    figures = evaluate(ann_file, samples)
    assert figures['all_ap50'] == figures['novel_ap'] == 0


def test_clear_errors(scene, write_json, tmp_path):
    ann_file, samples = scene
    with pytest.raises(MissingFileError, match=r'nowhere\.json do not exist'):
        BaseNovelBoxMetric(str(tmp_path / 'nowhere.json'))
    with pytest.raises(ConfigError, match='AttachVocabulary'):
        BaseNovelBoxMetric(ann_file).process({}, samples)
    with pytest.raises(DataError, match=r'img_id: 99.*not in'):
        evaluate(ann_file, [dict(samples[0], img_id=99)])
    with pytest.raises(DataError, match='12 pictures but only 1 different'):
        evaluate(ann_file, [samples[0]] * 12)
    with pytest.raises(DataError, match='predicts none'):
        evaluate(ann_file, samples, iou_types='segm')
    with pytest.raises(ConfigError, match='iou_types'):
        BaseNovelBoxMetric(ann_file, iou_types='mask')
    with pytest.raises(DataError, match='nothing was evaluated'):
        BaseNovelBoxMetric(ann_file).evaluate(0)
    truth = json.loads(Path(ann_file).read_text())
    truth['categories'][1]['name'] = 'thing 0'
    with pytest.raises(DataError, match="several categories the name 'thing 0'"):
        evaluate(write_json(truth), samples)
    metric = BaseNovelBoxMetric(ann_file)
    with pytest.raises(ConfigError, match='different vocabularies'):
        metric.process({}, [dict(samples[row], vocabulary=Vocabulary.from_words(WORDS[row:])) for row in range(2)])


def _shard(rank, world_size, ann_file, samples, device):
    # Uneven shards and mmengine's padding: the last sample of rank 1 repeats the first picture.
    rows = [*range(rank, len(samples), world_size)]
    if len(rows) < math.ceil(len(samples) / world_size):
        rows.append(0)
    return evaluate(ann_file, [samples[row] for row in rows], size=len(samples), collect_device=device)


def _blocks(rank, world_size, ann_file, samples):
    rows = [[0, 1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 0, 1, 2]][rank]
    return evaluate(ann_file, [samples[row] for row in rows], size=len(samples))


@pytest.mark.parametrize('num_images', [11, 12])
def test_two_processes_equal_one(num_images, write_json):
    truth, samples = coco_scene(3, num_images=num_images)
    ann_file = write_json(truth)
    alone = evaluate(ann_file, samples)
    assert run_processes(_shard, ann_file, samples, 'cpu') == alone


def test_any_way_of_sharing_the_pictures_gives_the_same(scene):
    ann_file, samples = scene
    assert run_processes(_blocks, ann_file, samples) == evaluate(ann_file, samples)


def test_registered_and_silent(scene, capsys):
    ann_file, samples = scene
    metric = METRICS.build(dict(type='vlm_dense.BaseNovelBoxMetric', ann_file=ann_file))
    vocabulary = Vocabulary.from_words(WORDS)
    metric.process({}, [dict(sample, vocabulary=vocabulary) for sample in samples])
    metric.evaluate(len(samples))
    assert capsys.readouterr() == ('', '')
