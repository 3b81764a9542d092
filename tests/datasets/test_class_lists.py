"""The shipped word lists of segmentation: counts, places that label maps rely on, and splits."""

import json
from pathlib import Path

import pytest

from vlm_dense.datasets import vocabulary_path
from vlm_dense.text.dataset_vocabularies import read_dataset
from vlm_dense.text.vocabulary import Vocabulary


def shipped(name: str) -> Vocabulary:
    return Vocabulary.build(dict(file=vocabulary_path(name)))


@pytest.mark.parametrize(
    ('name', 'words', 'base'),
    [
        ('ade20k', 150, 0),
        ('ade20k_847', 847, 0),
        ('context459', 459, 0),
        ('cocostuff_156_15', 171, 156),
        ('voc20', 20, 0),
        ('voc20_15_5', 20, 15),
        ('voc20b', 59, 0),
    ],
)
def test_counts_and_source(name, words, base):
    vocabulary = shipped(name)
    assert (len(vocabulary), sum(vocabulary.is_base)) == (words, base)
    assert json.loads(Path(vocabulary_path(name)).read_text(encoding='utf-8'))['source']


def test_ade20k_847_keeps_rows_with_equal_first_names_apart():
    vocabulary = shipped('ade20k_847')
    names = [vocabulary.names(row) for row in range(847)]
    shared = ('bag', 'basket', 'control panel', 'grill', 'patio', 'pier', 'pipe', 'pot', 'screen')
    assert {name: sum(name in row for row in names) >= 2 for name in shared} == dict.fromkeys(shared, True)
    # The rows as their list has them: a word and its synonyms lose none of a row's names.
    assert set(names[191]) == {'bag', 'traveling bag', 'travelling bag', 'grip', 'suitcase'}
    assert set(names[768]) == {'control panel', 'instrument panel', 'control board', 'board', 'panel'}
    # 255 is a class: where uint8 label maps ignore.
    assert [vocabulary.words[row] for row in (0, 11, 174, 254, 255, 256)] == [
        'wall',
        'person',
        'wharf',
        'dome',
        'pier',
        'shanties',
    ]


def test_context459_is_in_the_order_of_labels_txt():
    words = shipped('context459').words
    assert [words[row] for row in (0, 1, 2, 255, 458)] == [
        'accordion',
        'aeroplane',
        'air conditioner',
        'monkey',
        'wool',
    ]
    initials = [word[0] for word in words]
    assert initials == sorted(initials)


def test_cocostuff_split_is_the_data_set_in_its_order():
    vocabulary = shipped('cocostuff_156_15')
    assert vocabulary.words == tuple(read_dataset('coco_stuff').words)
    unseen = {word for word, base in zip(vocabulary.words, vocabulary.is_base, strict=True) if not base}
    things = {'cow', 'giraffe', 'suitcase', 'frisbee', 'skateboard', 'carrot', 'scissors'}
    stuff = {'cardboard', 'clouds', 'grass', 'playingfield', 'river', 'road', 'tree', 'wall-concrete'}
    assert unseen == things | stuff


def test_voc_lists_share_their_first_twenty_words():
    voc = shipped('voc20')
    split = shipped('voc20_15_5')
    assert (split.words, split.synonyms) == (voc.words, voc.synonyms)
    assert split.select(is_base=False).words == ('potted plant', 'sheep', 'sofa', 'train', 'tv monitor')
    with_background = shipped('voc20b').words
    assert with_background[:20] == voc.words
    joined = {word.replace(' ', '') for word in voc.words} | {'table'}
    # 'table' is how PASCAL Context calls VOC's dining table.
    assert set(with_background[20:]) == set(read_dataset('pascal_context_59').words) - joined
