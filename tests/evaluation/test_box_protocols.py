"""Figures, caps and choices of the box protocols against pycocotools and a few lines of numpy."""

import math

import numpy as np
import pytest
import torch
from evaluation_support import add_masks, coco_records, coco_scene, federated_scene, run_processes
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_base_novel_box_metric import BASE, WORDS, evaluate

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.evaluation import BaseNovelBoxMetric, average_precision
from vlm_dense.evaluation.average_precision import AREAS, category_accuracy, load_ground_truth
from vlm_dense.evaluation.detection_cap import DetectionCap
from vlm_dense.evaluation.detection_table import DetectionTable
from vlm_dense.text.vocabulary import Vocabulary

IDS = [row * 3 + 2 for row in range(6)]


def pycocotools(truth, samples, iou_type, limit=100):
    """AP and recall per category, (10, C, 4), -1 as NaN, and COCO's twelve figures in percent."""
    ground_truth = COCO()
    ground_truth.dataset = truth
    ground_truth.createIndex()
    evaluation = COCOeval(ground_truth, ground_truth.loadRes(coco_records(samples, iou_type)), iou_type)
    evaluation.params.maxDets = [1, 2, limit]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval['precision'][..., 2]
    recall = evaluation.eval['recall'][..., 2]
    if limit == 100:
        evaluation.summarize()
    return (
        np.where(precision > -1, precision, np.nan).mean(axis=1),
        np.where(recall > -1, recall, np.nan),
        np.where(np.asarray(evaluation.stats) < 0, np.nan, np.asarray(evaluation.stats)) * 100,
    )


def accuracy(truth, samples, cap, iou_type='bbox', lvis_style=False):
    table = DetectionTable.from_records(coco_records(samples, iou_type), [s['img_id'] for s in samples])
    ground_truth = load_ground_truth(truth, lvis_style)
    return category_accuracy(ground_truth, table, IDS, DetectionCap.parse(cap), iou_type, lvis_style)


def test_ids_may_be_texts_and_begin_at_0():
    truth, samples = coco_scene(0)
    plain = accuracy(truth, samples, 'picture_and_word:100')
    for annotation in truth['annotations']:
        annotation.update(id=annotation['id'] - 1, image_id=f'{annotation["image_id"]:03}')
    for image in truth['images']:
        image['id'] = f'{image["id"]:03}'
    for sample in samples:
        sample['img_id'] = f'{sample["img_id"]:03}'
    found = accuracy(truth, samples, 'picture_and_word:100')
    np.testing.assert_array_equal(found.precision_TCA, plain.precision_TCA)
    assert np.nanmax(found.precision_TCA) > 0


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('limit', [100, 3])
@pytest.mark.parametrize('seed', range(3))
def test_every_category_and_area_equals_pycocotools(seed, limit, iou_type):
    truth, samples = coco_scene(seed, num_images=24, longest=240)
    if iou_type == 'segm':
        add_masks(truth, samples)
    found = accuracy(truth, samples, f'picture_and_word:{limit}', iou_type)
    precision_TCA, recall_TCA, _ = pycocotools(truth, samples, iou_type, limit)
    np.testing.assert_allclose(found.precision_TCA, precision_TCA, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.recall_TCA, recall_TCA, atol=1e-9, rtol=0)
    assert all(np.isfinite(precision_TCA[..., area]).any() for area in range(len(AREAS))), 'objects of every area'


def test_caps_bite():
    truth, samples = coco_scene(0, num_images=24, longest=240)
    caps = 'picture_and_word:100', 'picture_and_word:3', 'picture:3', 'word:3'
    aps = [np.nanmean(accuracy(truth, samples, cap).precision_TCA[..., 0]) for cap in caps]
    assert len({round(ap, 6) for ap in aps}) == len(caps)


@pytest.mark.parametrize('seed', range(3))
def test_figures_equal_the_summary_of_pycocotools(seed, write_json, capsys):
    truth, samples = coco_scene(seed, num_images=24, longest=240)
    add_masks(truth, samples)
    figures = evaluate(write_json(truth), samples, iou_types=('bbox', 'segm'), figures=('coco', 'slices'))
    for iou_type, head in dict(bbox='', segm='segm_').items():
        stats = pycocotools(truth, samples, iou_type)[2]
        names = 'ap', 'ap50', 'ap75', 'aps', 'apm', 'apl'
        assert [figures[head + name] for name in names] == pytest.approx(stats[:6].tolist(), abs=1e-9)
        assert figures[f'{head}ar'] == pytest.approx(stats[8], abs=1e-9)
        assert figures[f'{head}all_ap'] == figures[f'{head}ap']


@pytest.mark.parametrize('cap', ['picture:4', 'word:7', 'picture_and_word:2'])
def test_a_cap_equals_trimming_by_sorted_lists(cap):
    samples = coco_scene(1)[1]
    records = coco_records(samples, 'bbox')
    kind, limit = cap.split(':')
    groups = {}
    for record in records:
        keys = dict(picture=record['image_id'], word=record['category_id'])
        group = tuple(keys.values()) if kind == 'picture_and_word' else keys[kind]
        groups.setdefault(group, []).append(record)
    kept = [one for group in groups.values() for one in sorted(group, key=lambda r: -r['score'])[: int(limit)]]
    table = DetectionTable.from_records(records, [sample['img_id'] for sample in samples])
    capped = DetectionCap.parse(cap).apply(table).records('bbox')

    def identity(record):
        return record['image_id'], record['category_id'], record['score'], tuple(record['bbox'])

    assert sorted(map(identity, capped)) == sorted(map(identity, kept))
    assert len(kept) < len(records)


def test_parts_change_no_figure(monkeypatch):
    truth, samples = federated_scene(2)
    whole = accuracy(truth, samples, 'picture:300', lvis_style=True)
    monkeypatch.setattr(average_precision, 'PAIRS_AT_ONCE', 1)
    calls = []
    score = average_precision._score
    monkeypatch.setattr(average_precision, '_score', lambda *args: calls.append(args) or score(*args))
    single = accuracy(truth, samples, 'picture:300', lvis_style=True)
    assert len(calls) == len(IDS)
    np.testing.assert_array_equal(single.precision_TCA, whole.precision_TCA)
    np.testing.assert_array_equal(single.recall_TCA, whole.recall_TCA)


def _one_share(rank, world_size, ann_file, samples, cap):
    return evaluate(ann_file, samples[rank::world_size], size=len(samples), cap=cap)


@pytest.mark.parametrize('cap', ['picture:5', 'word:20', 'picture_and_word:3'])
def test_equal_scores_do_not_follow_the_order_of_pictures(cap, write_json):
    truth, samples = coco_scene(4)
    ann_file = write_json(truth)
    figures = evaluate(ann_file, samples, cap=cap)
    assert evaluate(ann_file, samples[::-1], cap=cap) == figures
    assert run_processes(_one_share, ann_file, samples, cap) == figures


def test_seen_unseen_figures(write_json):
    truth, samples = coco_scene(2)
    figures = evaluate(write_json(truth), samples, figures='seen_unseen')
    precision_TCA, recall_TCA, _ = pycocotools(truth, samples, 'bbox')
    base = np.array([word in BASE for word in WORDS])
    for name, value_C in dict(ap50=precision_TCA[0, :, 0], recall100=recall_TCA[0, :, 0]).items():
        seen, unseen = np.nanmean(value_C[base]) * 100, np.nanmean(value_C[~base]) * 100
        assert figures[f'seen_{name}'] == pytest.approx(seen, abs=1e-9)
        assert figures[f'unseen_{name}'] == pytest.approx(unseen, abs=1e-9)
        assert figures[f'hm_{name}'] == pytest.approx(2 / (1 / seen + 1 / unseen), abs=1e-9)
    only_unseen = evaluate(write_json(truth), samples, words=WORDS, base=(), figures='seen_unseen', cap='picture:100')
    assert math.isnan(only_unseen['hm_ap50'])
    for sample in samples:
        sample['pred_instances'] = {key: value[:0] for key, value in sample['pred_instances'].items()}
    assert evaluate(write_json(truth), samples, figures='seen_unseen')['hm_ap50'] == 0


def test_frequencies_come_from_the_file_or_from_the_words(write_json):
    truth, samples = federated_scene(0)
    from_file = evaluate(write_json(truth), samples, figures=('frequency',))
    letters = [category.pop('frequency') for category in truth['categories']]
    ann_file = write_json(truth)
    metric = BaseNovelBoxMetric(ann_file, figures='frequency')
    vocabulary = Vocabulary.from_words(WORDS, frequency=letters)
    metric.process({}, [dict(sample, vocabulary=vocabulary) for sample in samples])
    assert metric.evaluate(len(samples)) == from_file
    with pytest.raises(DataError, match=r"6 categories \(first: 'thing 0'\) no frequency"):
        evaluate(ann_file, samples, figures='frequency')


def test_masks_where_given(write_json):
    truth, samples = coco_scene(0)
    ann_file = write_json(truth)
    options = dict(iou_types=('bbox', 'segm'), masks='where_given')
    boxes = evaluate(ann_file, samples)
    assert evaluate(ann_file, samples, **options) == boxes
    with pytest.raises(DataError, match='nothing else is evaluated'):
        evaluate(ann_file, samples, iou_types='segm', masks='where_given')
    add_masks(truth, samples)
    del samples[0]['pred_instances']['masks']  # has no detections
    masks = evaluate(ann_file, samples, iou_types='segm', masks='where_given')
    assert evaluate(ann_file, samples, **options) == {**boxes, **masks}
    assert masks['segm_all_ap'] > 0
    del samples[1]['pred_instances']['masks']
    with pytest.raises(DataError, match=r'picture 1 has boxes without masks and picture 2 has masks'):
        evaluate(ann_file, samples, **options)


def test_categories_get_their_words(write_json):
    truth, samples = coco_scene(0)
    truth['categories'][1]['name'], truth['categories'][5]['name'] = 'THING 0', '  '
    renamed = {'THING 0': 'thing 1', '  ': None}
    for sample in samples:
        keep = sample['pred_instances']['labels'] < 5
        sample['pred_instances'] = {key: value[keep] for key, value in sample['pred_instances'].items()}
    figures = evaluate(write_json(truth), samples, words=WORDS[:5], category_words=renamed)
    truth['categories'][1]['name'], truth['categories'][5]['name'] = 'thing 1', 'thing 5'
    assert figures == evaluate(write_json(truth), samples, words=WORDS[:5], allow_missing=True)


def test_a_smaller_vocabulary_on_a_smaller_file(write_json):
    truth, samples = coco_scene(3)
    novel = [word for word in WORDS if word not in BASE]
    for sample in samples:
        found = sample['pred_instances']
        keep = torch.tensor([WORDS[label] in novel for label in found['labels'].tolist()], dtype=torch.bool)
        sample['pred_instances'] = {key: value[keep] for key, value in found.items()}
        sample['pred_instances']['labels'] //= 2
    figures = evaluate(write_json(truth), samples, words=novel, base=(), allow_missing=True)
    truth['categories'] = [c for c in truth['categories'] if c['name'] in novel]
    kept = {category['id'] for category in truth['categories']}
    truth['annotations'] = [a for a in truth['annotations'] if a['category_id'] in kept]
    assert evaluate(write_json(truth), samples, words=novel, base=()) == pytest.approx(figures, nan_ok=True)
    assert figures['novel_ap50'] > 0


def test_caps_and_figures_are_checked_and_told(write_json):
    ann_file = write_json(coco_scene(0)[0])
    assert BaseNovelBoxMetric(ann_file).cap.in_words == '100 detections per picture and word'
    fixed = BaseNovelBoxMetric(ann_file, cap='word:10000').cap
    assert fixed.in_words == '10,000 detections per word over the whole data set, any number per picture'
    for cap in ('300', 'image:300', 'picture:0', 'picture:all'):
        with pytest.raises(ConfigError, match="write 'picture_and_word:N', 'picture:N', 'word:N'"):
            BaseNovelBoxMetric(ann_file, cap=cap)
    with pytest.raises(ConfigError, match='figures'):
        BaseNovelBoxMetric(ann_file, figures=('coco', 'lvis'))
    with pytest.raises(ConfigError, match='masks'):
        BaseNovelBoxMetric(ann_file, masks='optional')
