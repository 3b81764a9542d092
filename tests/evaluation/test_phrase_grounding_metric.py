"""Recall and precision of phrases against mmdet's two metrics."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from evaluation_support import run_processes
from mmdet.evaluation.metrics import Flickr30kMetric, RefExpMetric
from mmengine.structures import InstanceData

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.evaluation import PhraseGroundingMetric
from vlm_dense.text.vocabulary import Vocabulary

PHRASES = ('a dog', 'two men', 'A Dog', 'the sky')


def sentences(seed, count=30, phrases=PHRASES):
    """Samples whose equal phrases share a label; boxes are near the truth, or anywhere; some find nothing."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        truth = [[_box(rng) for _ in range(int(rng.integers(1, 4)))] for _ in phrases]
        labels = rng.integers(0, min(3, len(phrases)), size=0 if number == 0 else int(rng.integers(0, 40)))
        rows = [0, 1, 0, 2]
        boxes = []
        for label in labels:
            own = [box for row, some in zip(rows, truth, strict=False) if row == label for box in some]
            near = own[int(rng.integers(len(own)))] + rng.integers(-12, 13, size=4)
            boxes.append(near if rng.random() < 0.6 else _box(rng))
        found = dict(
            bboxes=torch.tensor(np.array(boxes), dtype=torch.float32).reshape(-1, 4),
            scores=torch.tensor(np.round(rng.random(len(labels)), 1)),
            labels=torch.tensor(labels),
        )
        phrase_boxes = [[box.tolist() for box in some] for some in truth]
        samples.append(dict(img_id=number, phrases=phrases, phrase_boxes=phrase_boxes, pred_instances=found))
    return samples


def _box(rng):
    x, y, width, height = rng.integers(20, 80, size=4).astype(float)
    return np.array([x, y, x + width, y + height])


def evaluate(samples, size=None, **kwargs):
    metric = PhraseGroundingMetric(**kwargs)
    metric.process({}, samples)
    return metric.evaluate(len(samples) if size is None else size)


def as_mmdet(sample):
    """Predictions once for every phrase, best first; labels count phrases."""
    found = sample['pred_instances']
    order = np.argsort(-found['scores'].numpy(), kind='stable')
    rows = dict(zip(sample['phrases'], [0, 1, 0, 2], strict=False))
    own = [[n for n in order if found['labels'][n] == rows[phrase]] for phrase in sample['phrases']]
    picked = torch.tensor([n for some in own for n in some], dtype=torch.long)
    labels = torch.tensor([row for row, some in enumerate(own) for _ in some], dtype=torch.long)
    truth = [(row, box) for row, some in enumerate(sample['phrase_boxes']) for box in some]
    return dict(
        pred_instances=InstanceData(bboxes=found['bboxes'][picked], scores=found['scores'][picked], labels=labels),
        gt_instances=dict(bboxes=np.array([box for _, box in truth])),
        phrase_ids=[row for row, _ in truth],
        phrases=sample['phrases'],
    )


@pytest.mark.parametrize('seed', range(4))
def test_recall_equals_mmdet(seed):
    samples = sentences(seed)
    peer = Flickr30kMetric()
    peer.process({}, [as_mmdet(sample) for sample in samples])
    expected = peer.compute_metrics(peer.results)
    figures = evaluate(samples)
    assert list(figures) == ['recall@1', 'recall@5', 'recall@10', 'recall@all']
    for k in (1, 5, 10):
        assert figures[f'recall@{k}'] == pytest.approx(expected[str(k)]['all'] * 100, abs=1e-9)
    assert figures['recall@all'] == pytest.approx(expected['-1']['all'] * 100, abs=1e-9)
    assert 0 < figures['recall@1'] < figures['recall@all'] < 100


def test_merged_boxes_are_one_box_around_all():
    samples = sentences(0)
    merged = [
        dict(sample, phrase_boxes=[[[*np.min(some, axis=0)[:2], *np.max(some, axis=0)[2:]]] for some in boxes])
        for sample in samples
        for boxes in [sample['phrase_boxes']]
    ]
    figures = evaluate(samples, boxes='merged')
    assert figures == evaluate(merged)
    assert figures != evaluate(samples)


@pytest.mark.parametrize('seed', range(3))
def test_precision_equals_mmdet(seed, write_json):
    samples = [s for s in sentences(seed, phrases=('the left one',)) if len(s['pred_instances']['scores'])]
    images, annotations = [], []
    for sample in samples:
        x1, y1, x2, y2 = sample['phrase_boxes'][0][0]
        sample['phrase_boxes'] = [[[x1, y1, x2, y2]]]
        images.append(dict(id=sample['img_id'], dataset_name='refcoco+'))
        box = [x1, y1, x2 - x1, y2 - y1]
        annotations.append(dict(id=sample['img_id'] + 1, image_id=sample['img_id'], bbox=box, category_id=1))
    peer = RefExpMetric(ann_file=write_json(dict(images=images, annotations=annotations, categories=[dict(id=1)])))
    peer.process({}, [dict(as_mmdet(sample), img_id=sample['img_id']) for sample in samples])
    expected = peer.compute_metrics(peer.results)
    figures = evaluate(samples, topk=(1, 5, 10), figure='precision')
    for k in (1, 5, 10):
        assert figures[f'precision@{k}'] == pytest.approx(float(expected[f'refcoco+_precision@{k}']) * 100, abs=1e-9)
    assert 0 < figures['precision@1'] < figures['precision@10']


def _share(rank, world_size, samples):
    return evaluate([*samples[rank::world_size], samples[0]], size=len(samples))


def test_two_processes_equal_one():
    samples = sentences(2, count=7)
    assert run_processes(_share, samples) == evaluate(samples)


def test_clear_errors():
    sample = sentences(0, count=2)[1]
    with pytest.raises(ConfigError, match="no 'phrases'"):
        evaluate([dict(sample, phrases=None)])
    with pytest.raises(ConfigError, match='sentence 1 was asked for 1 other words'):
        evaluate([dict(sample, vocabulary=Vocabulary.from_words(['dog']))])
    assert evaluate([dict(sample, vocabulary=Vocabulary.from_words(['a dog', 'two men', 'the sky']))])
    with pytest.raises(DataError, match='no phrase'):
        evaluate([dict(sample, phrases=(), phrase_boxes=[])])
    for wrong in (dict(topk=(0,)), dict(boxes='one'), dict(figure='ap')):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            PhraseGroundingMetric(**wrong)


def test_metrics_come_without_data_sets():
    code = 'import sys, vlm_dense.evaluation; print({"mmdet", "mmseg", "vlm_dense.datasets"} & set(sys.modules))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'
