"""Prompts of class names: who is asked for, how many, within which window, and that it can be repeated."""

import json
import shutil

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset.utils import worker_init_fn
from mmengine.structures import InstanceData
from transformers import BertConfig, BertTokenizerFast

from vlm_dense.datasets import DetectionAsGrounding, VocabularyCocoDataset
from vlm_dense.datasets.prompt_budget import PromptBudget
from vlm_dense.errors import ConfigError, DataError
from vlm_dense.text.prompt_packing import caption_prompt
from vlm_dense.text.vocabulary import Vocabulary

WORDS = tuple(f'thing {letter}{digit}' for letter in 'abcdefghij' for digit in range(10))
VOCABULARY = Vocabulary.from_words(WORDS, base=WORDS[:50])
MARKS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']


@pytest.fixture
def bert(tmp_path):
    """A tokenizer that knows 'thing', '.' and single letters and digits."""
    folder = tmp_path / 'bert'
    folder.mkdir()
    pieces = [*MARKS, 'thing', '.', *'abcdefghij', *(f'##{digit}' for digit in range(10))]
    (folder / 'vocab.txt').write_text('\n'.join(pieces))
    BertTokenizerFast(str(folder / 'vocab.txt')).save_pretrained(folder)
    BertConfig(vocab_size=len(pieces)).save_pretrained(folder)
    return folder


def packed(labels=(), ignored=(), **metainfo) -> dict:
    sample = DetDataSample(metainfo=dict(img_path='a.png', vocabulary=VOCABULARY) | metainfo)
    sample.gt_instances = InstanceData(labels=torch.tensor(labels, dtype=torch.long))
    sample.ignored_instances = InstanceData(labels=torch.tensor(ignored, dtype=torch.long))
    return dict(data_samples=sample)


def draws(step: DetectionAsGrounding, times: int = 200, **sample) -> list[DetDataSample]:
    np.random.seed(0)
    return [step(packed(**sample))['data_samples'] for _ in range(times)]


def test_boxes_keep_their_words_and_every_present_word_is_asked_for():
    labels, ignored = (7, 3, 7, 99), (50, 3)
    for sample in draws(DetectionAsGrounding(max_negatives=9), labels=labels, ignored=ignored):
        words = sample.vocabulary.words
        assert [words[row] for row in sample.gt_instances.labels] == [WORDS[label] for label in labels]
        assert 4 <= len(words) <= 12
        assert WORDS[50] not in words, 'what only stands under an ignored box is not known to be absent'
        assert sample.ignored_instances.labels.tolist() == [-1, words.index(WORDS[3])]
        flags = dict(zip(words, sample.vocabulary.is_base, strict=True))
        assert flags == {word: WORDS.index(word) < 50 for word in words}


def test_the_order_is_random_and_every_absent_word_is_drawn():
    samples = draws(DetectionAsGrounding(max_negatives=20), labels=(7,))
    assert {word for sample in samples for word in sample.vocabulary.words} == set(WORDS)
    places = [sample.vocabulary.index(WORDS[7]) / len(sample.vocabulary) for sample in samples]
    assert 0.35 < np.mean(places) < 0.6


@pytest.mark.parametrize(
    ('shares', 'numbers'),
    [
        (dict(full=1.0), {20}),
        (dict(full=0.0, one_negative=1.0), {1}),
        (dict(full=0.0, positives_only=1.0), {0}),
        (dict(full=0.0), set(range(1, 21))),
    ],
)
def test_each_kind_of_prompt(shares, numbers):
    samples = draws(DetectionAsGrounding(max_negatives=20, **shares), times=400, labels=(7, 8))
    assert {len(sample.vocabulary) - 2 for sample in samples} == numbers


def test_the_shares_are_those_of_the_published_settings():
    """(0, 0, 0.5, 0) and 85: half the prompts are full, the others uniform over 1..85; 600 draws, four deviations."""
    numbers = np.array([len(s.vocabulary) - 1 for s in draws(DetectionAsGrounding(), times=600, labels=(7,))])
    share = 0.5 + 0.5 / 85
    assert abs((numbers == 85).mean() - share) < 4 * np.sqrt(0.25 / 600)
    others = numbers[numbers < 85]
    assert abs(others.mean() - 42.5) < 4 * np.sqrt(84**2 / 12 / len(others))


def test_only_listed_words_are_taken_for_absent():
    for sample in draws(DetectionAsGrounding(full=1.0), labels=(7, 8), absent=(20, 30, 8)):
        assert set(sample.vocabulary.words) == {WORDS[row] for row in (7, 8, 20, 30)}
        left = {sample.vocabulary.words[row] for row in sample.get('absent')}
        assert left == {WORDS[row] for row in (8, 20, 30)}
    with pytest.raises(DataError, match=r'a\.png shows no word, and none is known to be absent'):
        DetectionAsGrounding()(packed(absent=()))


def test_a_picture_without_boxes_is_asked_for_absent_words():
    samples = draws(DetectionAsGrounding(full=0.0, positives_only=1.0))
    assert {len(sample.vocabulary) for sample in samples} == {1}


def test_captions_pass_as_they_are():
    words = Vocabulary.from_words(['a man'])
    sample = packed((0,), vocabulary=words, prompt=caption_prompt('a man sits', [[(0, 5)]]))
    result = DetectionAsGrounding(vocabulary=VOCABULARY)(sample)['data_samples']
    assert result.vocabulary == words
    assert result.gt_instances.labels.tolist() == [0]


def test_words_that_are_not_there_are_added_while_they_fit(bert):
    tokenizer = BertTokenizerFast.from_pretrained(bert)
    step = DetectionAsGrounding(full=1.0, tokenizer=bert, max_tokens=40)
    for sample in draws(step, times=30, labels=(7, 8)):
        words = sample.vocabulary.words
        # 'thing', a letter, '##digit' and '.' for each, two marks: 9 words are 38 tokens.
        assert len(words) == 9
        text = '. '.join(words) + '. '
        assert len(tokenizer(text).input_ids) == step.budget.count(words) == 38
        assert {WORDS[7], WORDS[8]} <= set(words)


def test_present_words_that_do_not_fit_are_an_error_with_numbers(bert):
    step = DetectionAsGrounding(tokenizer=bert, max_tokens=20)
    with pytest.raises(DataError, match=r'a\.png shows 5 words, 22 tokens; the text window has 20\. Split'):
        step(packed((1, 2, 3, 4, 5)))
    assert len(step(packed((1, 2, 3, 4)))['data_samples'].vocabulary) == 4
    with pytest.raises(ConfigError, match='reads 512'):
        PromptBudget(bert, 513)


def test_a_seeded_worker_draws_the_same_again():
    def words(seed):
        worker_init_fn(worker_id=1, num_workers=2, rank=3, seed=seed)
        return [DetectionAsGrounding()(packed((7,)))['data_samples'].vocabulary.words for _ in range(3)]

    assert words(5) == words(5) != words(6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(full=0.8, one_negative=0.3), 'add up to at most 1'),
        (dict(full=-0.1), 'numbers from 0'),
        (dict(max_negatives=0), 'at least 1'),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        DetectionAsGrounding(**options)


def test_wrong_places():
    with pytest.raises(ConfigError, match='after PackDetInputs'):
        DetectionAsGrounding()({})
    with pytest.raises(ConfigError, match=r'a\.png brings none; give vocabulary'):
        DetectionAsGrounding()(packed(vocabulary=None))


def test_federated_pictures_bring_what_is_known_to_be_absent(picture_set, tmp_path):
    document = json.loads((picture_set / 'train.json').read_text())
    vocabulary = json.loads((picture_set / 'vocabulary.json').read_text())
    present = {one['id']: set() for one in document['images']}
    for one in document['annotations']:
        present[one['image_id']].add(one['category_id'])
    for image in document['images']:
        free = [category['id'] for category in document['categories'] if category['id'] not in present[image['id']]]
        image |= dict(neg_category_ids=free[:2], not_exhaustive_category_ids=free[2:3])
    (tmp_path / 'train.json').write_text(json.dumps(document))
    shutil.copytree(picture_set / 'train', tmp_path / 'train')
    pipeline = [
        dict(type='mmdet.LoadImageFromFile'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='mmdet.PackDetInputs'),
        dict(type='vlm_dense.DetectionAsGrounding', vocabulary=vocabulary['words'], full=1.0),
    ]
    data = VocabularyCocoDataset(
        data_root=str(tmp_path),
        ann_file='train.json',
        data_prefix=dict(img=''),
        vocabulary=vocabulary['words'],
        pipeline=pipeline,
    )
    names = {category['id']: category['name'] for category in document['categories']}
    for row, image in enumerate(document['images']):
        asked = set(data[row]['data_samples'].vocabulary.words)
        assert asked == {names[one] for one in (*present[image['id']], *image['neg_category_ids'])}
