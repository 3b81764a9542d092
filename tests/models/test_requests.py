"""The words of a request come from the samples and nowhere else."""

import pickle

import pytest
import torch
from detection_parts import sample, vocabulary
from mmengine.structures import InstanceData

from vlm_dense.errors import ConfigError
from vlm_dense.models import vocabulary_of, words_of


def test_equal_vocabularies_of_different_workers_agree() -> None:
    words = vocabulary()
    copied = pickle.loads(pickle.dumps(words))
    assert vocabulary_of([sample(words), sample(copied)]) == words


def test_a_missing_vocabulary_names_the_sample_and_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r'data sample 1 .*AttachVocabulary'):
        vocabulary_of([sample(vocabulary()), sample(None)])


@pytest.mark.parametrize(
    ('words', 'base'), [('ant bee', 'ant bee'), ('bee ant cat', 'ant bee'), ('ant bee cat', 'ant')]
)
def test_one_batch_asks_for_one_list_of_words(words: str, base: str) -> None:
    with pytest.raises(ConfigError, match='different vocabularies'):
        vocabulary_of([sample(vocabulary()), sample(vocabulary(words, base))])


def test_no_samples() -> None:
    with pytest.raises(ConfigError, match='empty batch'):
        vocabulary_of([])


def test_results_carry_the_callers_strings() -> None:
    found = sample(vocabulary('Ant bee CAT', 'bee'))
    found.pred_instances = InstanceData(labels=torch.tensor([2, 0, 2]))
    assert words_of(found) == ['CAT', 'Ant', 'CAT']
