"""Seen/unseen IoU against plain numpy, by name, for wide label maps, and over processes."""

import json
import math

import numpy as np
import pytest
import torch
from evaluation_support import run_processes
from mmseg.evaluation import IoUMetric

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.evaluation import SeenUnseenIoUMetric
from vlm_dense.registry import METRICS
from vlm_dense.text.vocabulary import Vocabulary

WORDS = ('sky', 'tree', 'road', 'cat', 'dog', 'never seen')
SEEN = ('sky', 'road', 'dog')
BACKGROUND = len(WORDS)


def label_maps(seed=0, num_images=7, dtype=torch.uint8, ignore=255, classes=range(5), background=BACKGROUND):
    """Pictures of different sizes; the last word occurs nowhere; a tenth of the pixels is ignored."""
    rng = np.random.default_rng(seed)
    labels = [*classes, background]
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
    """IoU and accuracy of every class in percent, its pixels, and pixel accuracy in percent, from sets of pixels."""
    truth = np.concatenate([s['gt_sem_seg']['data'].numpy().ravel().astype(int) for s in samples])
    found = np.concatenate([s['pred_sem_seg']['data'].numpy().ravel() for s in samples])[truth != ignore]
    truth = truth[truth != ignore]
    iou, right = [], []
    pixels = np.array([(truth == label).sum() for label in range(num_classes)])
    for label in range(num_classes):
        union = ((truth == label) | (found == label)).sum()
        agree = 100 * ((truth == label) & (found == label)).sum()
        iou.append(agree / union if union else math.nan)
        right.append(agree / pixels[label] if pixels[label] else math.nan)
    return np.array(iou), np.array(right), pixels, 100 * (truth == found).mean()


def by_mmseg(samples, num_classes, ignore):
    """aAcc, mIoU and mAcc of mmseg in percent; its float32 counts are exact, its ratios are not and get float64."""
    counts = [
        IoUMetric.intersect_and_union(
            sample['pred_sem_seg']['data'][0], sample['gt_sem_seg']['data'][0].long(), num_classes, ignore
        )
        for sample in samples
    ]
    totals = [torch.stack(areas).sum(0, dtype=torch.float64) for areas in zip(*counts, strict=True)]
    found = IoUMetric.total_area_to_metrics(*totals)
    return {name: 100 * np.nanmean(values) for name, values in found.items()}


@pytest.mark.parametrize(
    ('dtype', 'ignore'), [(torch.uint8, 255), (torch.int32, 65535), (torch.uint16, 65535), (torch.int64, -1)]
)
def test_equals_plain_numpy(dtype, ignore):
    samples = label_maps(dtype=dtype, ignore=ignore)
    figures = evaluate(samples, ignore_index=ignore)
    iou, right, pixels, accuracy = oracle(samples, BACKGROUND + 1, ignore)
    seen, unseen = iou[[0, 2, 4]].mean(), iou[[1, 3]].mean()
    assert math.isnan(iou[5]), 'the last word is in neither map and counts nowhere'
    assert figures == pytest.approx(
        dict(
            seen_miou=seen,
            unseen_miou=unseen,
            hiou=2 * seen * unseen / (seen + unseen),
            miou=iou[:5].mean(),
            mean_accuracy=right[:5].mean(),
            fwiou=(iou[:5] * pixels[:5]).sum() / pixels[:5].sum(),
            pixel_accuracy=accuracy,
            background_iou=iou[6],
        ),
        abs=1e-9,
    )
    assert 20 < figures['hiou'] < 60


@pytest.mark.parametrize('num_words', [5, 254, 255, 256, 847])
@pytest.mark.parametrize('background_counts', [False, True])
def test_means_equal_those_of_mmseg(num_words, background_counts):
    rng = np.random.default_rng(num_words)
    ignore = 255 if num_words < 255 else 65535
    # A third of the words is absent; without background no pixel is background.
    classes = [*rng.choice(num_words, size=2 * num_words // 3, replace=False), num_words - 1]
    samples = label_maps(num_words, 5, torch.int64, ignore, classes, num_words if background_counts else 0)
    words = tuple(f'thing {row}' for row in range(num_words))
    figures = evaluate(samples, words=words, seen=words[:2], background_counts=background_counts)
    expected = by_mmseg(samples, num_words + background_counts, ignore)
    names = dict(miou='IoU', mean_accuracy='Acc', pixel_accuracy='aAcc')
    assert {ours: figures[ours] for ours in names} == pytest.approx(
        {ours: expected[theirs] for ours, theirs in names.items()}, abs=1e-9
    )
    iou, _, pixels, _ = oracle(samples, num_words + background_counts, ignore)
    assert figures['fwiou'] == pytest.approx(np.nansum(iou * pixels) / pixels.sum(), abs=1e-9)


def test_background_counts_in_the_means_and_not_in_seen_and_unseen():
    samples = label_maps()
    plain, counted = evaluate(samples), evaluate(samples, background_counts=True)
    same = ('seen_miou', 'unseen_miou', 'hiou', 'pixel_accuracy', 'background_iou')
    assert {name: plain[name] for name in same} == {name: counted[name] for name in same}
    assert counted['miou'] == pytest.approx((5 * plain['miou'] + plain['background_iou']) / 6, abs=1e-9)


def test_words_that_the_data_set_lacks_may_stand_for_background():
    # Two words and background; the request has two words more.
    truth_HW = torch.tensor([[0, 0, 1, 2, 2, 2]])
    found_HW = torch.tensor([[0, 2, 1, 3, 4, 1]])
    sample = dict(img_path='a', gt_sem_seg=dict(data=truth_HW[None]), pred_sem_seg=dict(data=found_HW[None]))
    request = dict(words=('sky', 'tree', 'wall', 'floor'), seen=(), metric_words=['sky', 'tree'])
    wrong = evaluate([sample], **request)
    assert wrong['background_iou'] == pytest.approx(100 / 3, abs=1e-9)
    counted = evaluate([sample], distractors='background', background_counts=True, **request)
    # Background: found at 1, 3 and 4, true at 3, 4 and 5.
    assert counted['background_iou'] == pytest.approx(50, abs=1e-9)
    assert counted['miou'] == pytest.approx(50, abs=1e-9)
    assert counted['pixel_accuracy'] == pytest.approx(400 / 6, abs=1e-9)
    with pytest.raises(ConfigError, match="'ignored'"):
        SeenUnseenIoUMetric(distractors='ignored')


def test_class_255_of_a_large_vocabulary_is_a_class():
    words = tuple(f'thing {row}' for row in range(847))
    truth_HW = torch.tensor([[255, 846, 65535, 255]]).to(torch.uint16)
    found_HW = torch.tensor([[255, 846, 3, 4]])
    sample = dict(img_path='a', gt_sem_seg=dict(data=truth_HW[None]), pred_sem_seg=dict(data=found_HW[None]))
    figures = evaluate([sample], words=words, seen=['thing 255'])
    assert figures['seen_miou'] == pytest.approx(50)
    # 'thing 3' was predicted on an ignored pixel only; 'thing 4' is a false positive.
    assert figures['unseen_miou'] == pytest.approx(50)
    assert 'background_iou' not in figures
    with pytest.raises(ConfigError, match='ignore_index=65535'):
        evaluate([sample], words=words, seen=(), ignore_index=255)


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
