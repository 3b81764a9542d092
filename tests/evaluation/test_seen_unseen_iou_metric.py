"""Seen/unseen IoU against plain numpy, by name, for wide label maps, and over processes."""

import json
import math

import numpy as np
import pytest
import torch
from evaluation_support import run_processes

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.evaluation import SeenUnseenIoUMetric
from vlm_dense.registry import METRICS
from vlm_dense.text.vocabulary import Vocabulary

WORDS = ('sky', 'tree', 'road', 'cat', 'dog', 'never seen')
SEEN = ('sky', 'road', 'dog')
BACKGROUND = len(WORDS)


def label_maps(seed=0, num_images=7, dtype=torch.uint8, ignore=255, classes=range(5)):
    """Pictures of different sizes; the last word occurs nowhere; a tenth of the pixels is ignored."""
    rng = np.random.default_rng(seed)
    labels = [*classes, BACKGROUND]
    samples = []
    for image in range(num_images):
        size = (int(rng.integers(5, 30)), int(rng.integers(5, 30)))
        truth_HW = rng.choice(labels, size=size)
        found_HW = np.where(rng.random(size) < 0.5, truth_HW, rng.choice(labels, size=size))
        truth_HW = np.where(rng.random(size) < 0.1, ignore, truth_HW)
        samples.append(
            dict(
                img_path=f'{image}.jpg',
                gt_sem_seg=dict(data=torch.from_numpy(truth_HW)[None].to(dtype)),
                pred_sem_seg=dict(data=torch.from_numpy(found_HW)[None]),
            )
        )
    return samples


def evaluate(samples, words=WORDS, seen=SEEN, size=None, metric_words=None, **kwargs):
    metric = SeenUnseenIoUMetric(words=metric_words, **kwargs)
    vocabulary = Vocabulary.from_words(words, base=[word for word in seen if word in words])
    metric.process({}, [dict(sample, vocabulary=vocabulary) for sample in samples])
    return metric.evaluate(len(samples) if size is None else size)


def oracle(samples, num_classes, ignore=255):
    """IoU of every class and pixel accuracy in percent, from sets of pixels."""
    truth = np.concatenate([s['gt_sem_seg']['data'].numpy().ravel().astype(int) for s in samples])
    found = np.concatenate([s['pred_sem_seg']['data'].numpy().ravel() for s in samples])[truth != ignore]
    truth = truth[truth != ignore]
    iou = []
    for label in range(num_classes):
        union = ((truth == label) | (found == label)).sum()
        iou.append(100 * ((truth == label) & (found == label)).sum() / union if union else math.nan)
    return np.array(iou), 100 * (truth == found).mean()


@pytest.mark.parametrize(
    ('dtype', 'ignore'), [(torch.uint8, 255), (torch.int32, 65535), (torch.uint16, 65535), (torch.int64, -1)]
)
def test_equals_plain_numpy(dtype, ignore):
    samples = label_maps(dtype=dtype, ignore=ignore)
    figures = evaluate(samples, ignore_index=ignore)
    iou, accuracy = oracle(samples, BACKGROUND + 1, ignore)
    seen, unseen = iou[[0, 2, 4]].mean(), iou[[1, 3]].mean()
    assert math.isnan(iou[5]), 'the last word is in neither map and counts nowhere'
    assert figures == pytest.approx(
        dict(
            seen_miou=seen,
            unseen_miou=unseen,
            hiou=2 * seen * unseen / (seen + unseen),
            miou=iou[:5].mean(),
            pixel_accuracy=accuracy,
            background_iou=iou[6],
        ),
        abs=1e-9,
    )
    assert 20 < figures['hiou'] < 60


def test_class_255_of_a_large_vocabulary_is_a_class():
    words = tuple(f'thing {row}' for row in range(847))
    truth_HW = torch.tensor([[255, 846, 65535, 255]]).to(torch.uint16)
    found_HW = torch.tensor([[255, 846, 3, 4]])
    sample = dict(img_path='a', gt_sem_seg=dict(data=truth_HW[None]), pred_sem_seg=dict(data=found_HW[None]))
    figures = evaluate([sample], words=words, seen=['thing 255'], ignore_index=65535)
    assert figures['seen_miou'] == pytest.approx(50)
    # 'thing 3' was predicted on an ignored pixel only; 'thing 4' is a false positive.
    assert figures['unseen_miou'] == pytest.approx(50)
    assert 'background_iou' not in figures
    with pytest.raises(ConfigError, match='ignore_index=65535'):
        evaluate([sample], words=words, seen=())


def test_permuted_words_give_the_same():
    samples = label_maps()
    before = evaluate(samples)
    order = [4, 2, 0, 5, 1, 3]
    place = np.append(np.argsort(order), BACKGROUND)
    for sample in samples:
        sample['pred_sem_seg']['data'] = torch.from_numpy(place)[sample['pred_sem_seg']['data']]
    permuted = [WORDS[row] for row in order]
    assert evaluate(samples, words=permuted) != pytest.approx(before)
    assert evaluate(samples, words=permuted, metric_words=list(WORDS)) == pytest.approx(before, abs=1e-9)


def test_pixels_of_a_distractor_are_misses_and_nobodys_false_positives(tmp_path):
    truth_HW = torch.tensor([[0, 0, 1, 1]])
    found_HW = torch.tensor([[0, 2, 1, 1]])
    sample = dict(img_path='a', gt_sem_seg=dict(data=truth_HW[None]), pred_sem_seg=dict(data=found_HW[None]))
    out_file = tmp_path / 'words.json'
    words = ['sky', 'tree', 'ghost']
    metric = SeenUnseenIoUMetric(words=['sky', 'tree'], out_file=str(out_file))
    metric.process({}, [dict(sample, vocabulary=Vocabulary.from_words(words, base=['sky']))])
    figures = metric.evaluate(1)
    assert (figures['seen_miou'], figures['unseen_miou'], figures['pixel_accuracy']) == (50, 100, 75)
    rows = json.loads(out_file.read_text())['per_word']
    assert [(row['word'], row['iou'], row['distractor']) for row in rows] == [
        ('sky', 50.0, False),
        ('tree', 100.0, False),
        ('ghost', None, True),
    ]


def test_nothing_right_gives_zero_and_no_unseen_word_gives_nan():
    wrong = dict(
        img_path='a',
        gt_sem_seg=dict(data=torch.tensor([[[0, 1]]])),
        pred_sem_seg=dict(data=torch.tensor([[[1, 0]]])),
    )
    assert evaluate([wrong], words=('sky', 'tree'))['hiou'] == 0
    figures = evaluate([wrong], words=('sky', 'tree'), seen=('sky', 'tree'))
    assert figures['seen_miou'] == figures['miou'] == 0
    assert math.isnan(figures['unseen_miou'])
    assert math.isnan(figures['hiou'])


def test_clear_errors():
    samples = label_maps()
    with pytest.raises(ConfigError, match='AttachVocabulary'):
        SeenUnseenIoUMetric().process({}, samples)
    sky = dict(samples[0], vocabulary=Vocabulary.from_words(['sky']))
    with pytest.raises(DataError, match=r"lacks 1: 'road'"):
        SeenUnseenIoUMetric(words=['sky', 'road']).process({}, [sky])
    bad = dict(samples[0], gt_sem_seg=dict(data=torch.full((1, 3, 3), 9)), pred_sem_seg=dict(data=torch.zeros(1, 3, 3)))
    with pytest.raises(DataError, match=r'0\.jpg: label 9 is neither one of the 6 words'):
        evaluate([bad])
    with pytest.raises(DataError, match=r'0\.jpg: the label map is \(3, 3\) but the prediction \(4, 4\)'):
        evaluate([dict(bad, pred_sem_seg=dict(data=torch.zeros(1, 4, 4)))])
    with pytest.raises(DataError, match=r'0\.jpg: gt_sem_seg is missing'):
        evaluate([dict(samples[0], gt_sem_seg=None)])
    with pytest.raises(DataError, match='nothing was evaluated'):
        SeenUnseenIoUMetric().evaluate(0)


def _shard(rank, world_size, samples):
    rows = [*range(rank, len(samples), world_size)]
    if len(rows) < math.ceil(len(samples) / world_size):
        rows.append(0)
    return evaluate([samples[row] for row in rows], size=len(samples))


@pytest.mark.parametrize('num_images', [6, 7])
def test_two_processes_equal_one(num_images):
    samples = label_maps(num_images=num_images)
    assert run_processes(_shard, samples) == evaluate(samples)


def test_registered():
    assert isinstance(METRICS.build(dict(type='vlm_dense.SeenUnseenIoUMetric')), SeenUnseenIoUMetric)
