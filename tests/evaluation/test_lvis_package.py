"""LVIS's own evaluation, box and mask, standard and Fixed AP, against the ``lvis`` package."""

import copy

import numpy as np
import pytest
from evaluation_support import add_masks, coco_records, federated_scene
from test_base_novel_box_metric import WORDS, evaluate
from test_box_protocols import IDS, accuracy

NAMES = dict(AP='ap', AP50='ap50', AP75='ap75', APs='aps', APm='apm', APl='apl', APr='apr', APc='apc', APf='apf')


def lvis_evaluation(monkeypatch, write_json, truth, records, iou_type, limit):
    """The package's evaluation; -1 for any number of detections per picture."""
    # Its last release uses an alias that numpy 1.24 dropped.
    monkeypatch.setattr(np, 'float', float, raising=False)
    from lvis import LVIS, LVISEval, LVISResults

    ground_truth = LVIS(write_json(truth))
    results = LVISResults(ground_truth, copy.deepcopy(records), max_dets=limit)
    evaluation = LVISEval(ground_truth, results, iou_type)
    evaluation.params.max_dets = limit
    evaluation.run()
    return evaluation


def per_category(evaluation):
    precision, recall = evaluation.eval['precision'], evaluation.eval['recall']
    return np.where(precision > -1, precision, np.nan).mean(axis=1), np.where(recall > -1, recall, np.nan)


def top_of_each_category(records, limit):
    """mmdet's LVISFixedAPMetric: stable lists by category, best first, cut off."""
    kept = []
    for category in IDS:
        own = [record for record in records if record['category_id'] == category]
        kept += sorted(own, key=lambda record: record['score'], reverse=True)[:limit]
    return kept


@pytest.fixture(params=['bbox', 'segm'])
def iou_type(request):
    return request.param


@pytest.mark.parametrize('limit', [300, 7])
@pytest.mark.parametrize('seed', range(3))
def test_standard_equals_lvis(seed, limit, iou_type, write_json, monkeypatch):
    truth, samples = federated_scene(seed, num_images=24, longest=240)
    add_masks(truth, samples)
    records = coco_records(samples, iou_type)
    peer = lvis_evaluation(monkeypatch, write_json, truth, records, iou_type, limit)
    precision_TCA, recall_TCA = per_category(peer)
    found = accuracy(truth, samples, f'picture:{limit}', iou_type, lvis_style=True)
    np.testing.assert_allclose(found.precision_TCA, precision_TCA, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.recall_TCA, recall_TCA, atol=1e-9, rtol=0)


@pytest.mark.parametrize('limit', [10000, 9])
@pytest.mark.parametrize('seed', range(3))
def test_fixed_ap_equals_lvis_without_a_cap(seed, limit, iou_type, write_json, monkeypatch):
    truth, samples = federated_scene(seed, num_images=24, longest=240)
    add_masks(truth, samples)
    records = top_of_each_category(coco_records(samples, iou_type), limit)
    peer = lvis_evaluation(monkeypatch, write_json, truth, records, iou_type, -1)
    precision_TCA, recall_TCA = per_category(peer)
    found = accuracy(truth, samples, f'word:{limit}', iou_type, lvis_style=True)
    np.testing.assert_allclose(found.precision_TCA, precision_TCA, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.recall_TCA, recall_TCA, atol=1e-9, rtol=0)


@pytest.mark.parametrize('cap', ['picture:7', 'word:9'])
def test_figures_equal_those_of_lvis(cap, write_json, monkeypatch):
    truth, samples = federated_scene(5, num_images=24, longest=240)
    add_masks(truth, samples)
    limit = int(cap.split(':')[1])
    options = dict(lvis_style=True, cap=cap, iou_types=('bbox', 'segm'), figures=('coco', 'frequency', 'slices'))
    rare = [category['frequency'] == 'r' for category in truth['categories']]
    base = [word for word, is_rare in zip(WORDS, rare, strict=True) if not is_rare]
    figures = evaluate(write_json(truth), samples, base=base, **options)
    for iou_type, head in dict(bbox='', segm='segm_').items():
        records = coco_records(samples, iou_type)
        if cap.startswith('word'):
            records, limit = top_of_each_category(records, limit), -1
        peer = lvis_evaluation(monkeypatch, write_json, truth, records, iou_type, limit)
        for theirs, ours in NAMES.items():
            expected = peer.results[theirs] * 100 if peer.results[theirs] > -1 else np.nan
            assert figures[head + ours] == pytest.approx(expected, abs=1e-9, nan_ok=True)
        limit = int(cap.split(':')[1])
        assert figures[f'{head}novel_ap'] == figures[f'{head}apr']
        assert figures[f'{head}ar'] == pytest.approx(np.nanmean(per_category(peer)[1][..., 0]) * 100, abs=1e-9)
