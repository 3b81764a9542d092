"""The counting of few-shot segmentation against a loop over classes and episodes in numpy."""

import json
from pathlib import Path

import numpy as np
import pytest

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.evaluation import ForegroundIoUMetric
from vlm_dense.text.vocabulary import Vocabulary

WORDS = ('cat', 'dog', 'hair drier')


def episodes(number: int = 12, seed: int = 0) -> list[dict]:
    """Episodes of other sizes; the last class is rare, and the first one is found too often."""
    random = np.random.default_rng(seed)
    made = []
    for row in range(number):
        word = WORDS[row % 5 % 3]
        size = tuple(random.integers(5, 30, 2))
        truth = random.choice([0, 1, 255], size, p=[0.6, 0.3, 0.1])
        found = np.where(random.random(size) < 0.7, truth % 255, random.integers(0, 2, size))
        made.append(
            dict(
                img_id=f'{row}__{word}',
                phrases=('others', word),
                episodes=1 + row % 4,
                gt_sem_seg=dict(data=truth[None].astype(np.uint8)),
                pred_sem_seg=dict(data=found[None]),
            )
        )
    return made


def reference(made: list[dict]) -> dict[str, float]:
    """Every episode as often as it is drawn; boundary pixels leave both maps."""
    inter, union = np.zeros((2, len(WORDS))), np.zeros((2, len(WORDS)))
    for sample in made:
        truth, found = sample['gt_sem_seg']['data'][0], sample['pred_sem_seg']['data'][0]
        known = truth != 255
        for _ in range(sample['episodes']):
            for value in (0, 1):
                is_truth, is_found = (truth == value)[known], (found == value)[known]
                inter[value, WORDS.index(sample['phrases'][1])] += (is_truth & is_found).sum()
                union[value, WORDS.index(sample['phrases'][1])] += (is_truth | is_found).sum()
    pooled = inter.sum(1) / union.sum(1)
    return dict(
        miou=100 * (inter[1] / union[1]).mean(),
        fb_iou=100 * pooled.mean(),
        foreground_iou=100 * pooled[1],
        background_iou=100 * pooled[0],
    )


def evaluate(made: list[dict], size: int | None = None, **settings) -> dict[str, float]:
    metric = ForegroundIoUMetric(**settings)
    for sample in made:
        metric.process({}, [sample])
    return metric.evaluate(len(made) if size is None else size)


@pytest.mark.parametrize('seed', range(3))
def test_figures_equal_the_loop(seed: int) -> None:
    made = episodes(seed=seed)
    assert evaluate(made) == pytest.approx(reference(made), abs=1e-9)


def test_classes_weigh_alike_however_many_pixels_they_have() -> None:
    half, right = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]])
    made = []
    for row, (word, factor) in enumerate((('cat', 1), ('cat', 1), ('dog', 100))):
        truth, found = np.repeat(half, factor, 1), np.repeat(right if word == 'dog' else half, factor, 1)
        maps = dict(gt_sem_seg=dict(data=truth[None]), pred_sem_seg=dict(data=found[None]))
        made.append(dict(img_id=row, phrases=('others', word), episodes=1, **maps))
    assert evaluate(made)['miou'] == pytest.approx((100 + 50) / 2)


def test_what_is_drawn_twice_counts_twice() -> None:
    made = episodes()
    repeated = [
        dict(sample, img_id=f'{sample["img_id"]}-{time}', episodes=1)
        for sample in made
        for time in range(sample['episodes'])
    ]
    assert evaluate(made) == pytest.approx(evaluate(repeated), abs=1e-9)


def test_padding_of_a_sampler_changes_nothing() -> None:
    made = episodes()
    assert evaluate([*made, made[0]], size=len(made)) == evaluate(made)


def test_only_the_class_is_foreground_wherever_it_stands_in_the_request() -> None:
    made = episodes()
    words = ('sky', 'Hair  drier', 'dog', 'others', 'cat')
    for sample in made:
        label = dict(cat=4, dog=2).get(sample['phrases'][1], 1)
        found = sample['pred_sem_seg']['data']
        # What is not the class is another word, or the background behind the words.
        others = np.where(np.arange(found.size).reshape(found.shape) % 2, 0, 5)
        sample['pred_sem_seg'] = dict(data=np.where(found == 1, label, others))
        sample['vocabulary'] = Vocabulary.from_words(words)
    assert evaluate(made) == pytest.approx(reference(episodes()), abs=1e-9)


def test_the_figures_of_every_class_are_written(tmp_path: Path) -> None:
    made = episodes()
    figures = evaluate(made, out_file=str(tmp_path / 'classes.json'))
    report = json.loads((tmp_path / 'classes.json').read_text())
    assert report['figures'] == figures
    assert {row['word'] for row in report['per_word']} == set(WORDS)
    assert np.mean([row['iou'] for row in report['per_word']]) == pytest.approx(figures['miou'])
    assert sum(row['episodes'] for row in report['per_word']) == sum(sample['episodes'] for sample in made)


def test_errors_name_the_picture_and_the_remedy() -> None:
    (sample,) = episodes(1)
    for key in ('phrases', 'episodes'):
        with pytest.raises(ConfigError, match=r'0__cat brings no two phrases .*evaluate a vlm_dense\.FoldEpisodes'):
            evaluate([{name: value for name, value in sample.items() if name != key}])
    with pytest.raises(ConfigError, match=r'0__cat was not asked for its class .*AttachVocabulary'):
        evaluate([dict(sample, vocabulary=Vocabulary.from_words(['dog', 'sky']))])
    with pytest.raises(DataError, match=r'0__cat: label 2 is neither the class \(1\)'):
        evaluate([dict(sample, gt_sem_seg=dict(data=np.full_like(sample['gt_sem_seg']['data'], 2)))])
    with pytest.raises(DataError, match='nothing was evaluated'):
        ForegroundIoUMetric().evaluate(0)
