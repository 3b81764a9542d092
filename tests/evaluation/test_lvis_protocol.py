"""LVIS's federated protocol against plain loops over the paper's rules."""

import numpy as np
import pytest
from evaluation_support import federated_scene
from test_base_novel_box_metric import WORDS, evaluate

from vlm_dense.errors import DataError
from vlm_dense.evaluation import BaseNovelBoxMetric

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def iou(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def detections_of(samples, limit):
    """Per picture the best ones over all words: (category, score, box)."""
    found = {}
    for sample in samples:
        instances = sample['pred_instances']
        rows = []
        for box, score, label in zip(*(instances[key].tolist() for key in ('bboxes', 'scores', 'labels')), strict=True):
            rows.append((label * 3 + 2, score, [box[0], box[1], box[2] - box[0], box[3] - box[1]]))
        found[sample['img_id']] = sorted(rows, key=lambda row: -row[1])[:limit]
    return found


def match(boxes, truths, threshold):
    """Which detections, best first, take a box of their own."""
    free, hits = list(truths), []
    for box in boxes:
        overlaps = [iou(box, truth) for truth in free]
        best = int(np.argmax(overlaps)) if free else -1
        # COCO's evaluation takes the last of equal overlaps.
        ties = [row for row, overlap in enumerate(overlaps) if overlap == max(overlaps)]
        best = ties[-1] if ties else best
        hit = bool(free) and overlaps[best] >= min(threshold, 1 - 1e-10)
        hits.append(hit)
        if hit:
            free.pop(best)
    return hits


def loops(truth, samples, limit):
    """AP50 and AP of every category in percent, NaN without boxes."""
    found = detections_of(samples, limit)
    ap_TC = np.full((len(THRESHOLDS), len(truth['categories'])), np.nan)
    for column, category in enumerate(c['id'] for c in truth['categories']):
        boxes = {image['id']: [] for image in truth['images']}
        for annotation in truth['annotations']:
            if annotation['category_id'] == category:
                boxes[annotation['image_id']].append(annotation['bbox'])
        total = sum(len(one) for one in boxes.values())
        for row, threshold in enumerate(THRESHOLDS if total else []):
            scored = []
            for image in truth['images']:
                if not boxes[image['id']] and category not in image['neg_category_ids']:
                    continue
                mine = [(score, box) for kind, score, box in found[image['id']] if kind == category]
                hits = match([box for _, box in mine], boxes[image['id']], threshold)
                lenient = category in image['not_exhaustive_category_ids']
                scored += [(score, hit) for (score, _), hit in zip(mine, hits, strict=True) if hit or not lenient]
            scored.sort(key=lambda pair: -pair[0])
            hits = np.array([hit for _, hit in scored], dtype=float)
            recall = np.cumsum(hits) / total
            precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            precision = np.maximum.accumulate(precision[::-1])[::-1] if len(hits) else precision
            place = np.searchsorted(recall, RECALLS, side='left')
            ap_TC[row, column] = np.append(precision, 0)[np.minimum(place, len(hits))].mean() * 100
    return ap_TC[0], ap_TC.mean(axis=0)


@pytest.mark.parametrize('limit', [300, 5])
@pytest.mark.parametrize('seed', range(4))
def test_equals_plain_loops(seed, limit, write_json):
    truth, samples = federated_scene(seed)
    base = [word for word, category in zip(WORDS, truth['categories'], strict=True) if category['frequency'] != 'r']
    figures = evaluate(write_json(truth), samples, base=base, lvis_style=True, cap=f'picture:{limit}')
    ap50_C, ap_C = loops(truth, samples, limit)
    rare_C = np.array([category['frequency'] == 'r' for category in truth['categories']])
    assert figures['novel_ap'] == pytest.approx(np.nanmean(ap_C[rare_C]), abs=1e-9)
    assert figures['base_ap'] == pytest.approx(np.nanmean(ap_C[~rare_C]), abs=1e-9)
    assert figures['all_ap50'] == pytest.approx(np.nanmean(ap50_C), abs=1e-9)
    ordinary = evaluate(write_json(truth), samples, base=base)
    assert ordinary['all_ap50'] != pytest.approx(figures['all_ap50'], abs=1e-3)


def test_the_cap_of_lvis_is_300_per_picture(write_json):
    ann_file = write_json(federated_scene(0)[0])
    metric = BaseNovelBoxMetric(ann_file, lvis_style=True)
    assert str(metric.cap) == 'picture:300'
    assert metric.cap.in_words == '300 detections per picture over all words'


def test_annotations_without_negative_lists_are_refused(write_json):
    truth, samples = federated_scene(0)
    del truth['images'][3]['neg_category_ids']
    with pytest.raises(DataError, match=r'1 pictures \(first id: 3\).*neg_category_ids'):
        evaluate(write_json(truth), samples, lvis_style=True)
    truth, samples = federated_scene(0)
    del truth['categories'][0]['frequency']
    with pytest.raises(DataError, match='frequency'):
        evaluate(write_json(truth), samples, lvis_style=True)
