"""The words of one request: they travel with the data samples, never inside a model."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.text.averaging import max_over_synonyms
from vlm_dense.text.vocabulary import Vocabulary

REMEDY = 'put dict(type="vlm_dense.AttachVocabulary", vocabulary=...) last in the pipeline.'


class WordRows(NamedTuple):
    """What the heads see of a vocabulary of K words.

    Args:
        text_KD: One unit row per word.
        is_base_K: Boolean, True where a word had boxes or masks in training.
    """

    text_KD: Tensor
    is_base_K: Tensor


class NameRows(NamedTuple):
    """`WordRows` of a vocabulary of K words with S names, the words themselves among them.

    Args:
        text_KD: (S, D), one unit row per name.
        is_base_K: As there.
        word_of_S: The word of every name.
    """

    text_KD: Tensor
    is_base_K: Tensor
    word_of_S: Tensor


def vocabulary_of(data_samples: Sequence[BaseDataElement]) -> Vocabulary:
    """The one vocabulary that a batch of samples asks for; labels are indices into it.

    Args:
        data_samples: Samples whose metainfo carries ``vocabulary``, at least one.

    Raises:
        ConfigError: If the batch is empty, a sample names no vocabulary, or two samples disagree.
    """
    if not data_samples:
        raise ConfigError('an empty batch names no vocabulary; give at least one data sample.')
    asked = vocabularies_of(data_samples)
    for row, vocabulary in enumerate(asked):
        if vocabulary is not asked[0] and vocabulary != asked[0]:
            raise ConfigError(
                f'data samples 0 and {row} of one batch ask for different vocabularies '
                f'({len(asked[0])} and {len(vocabulary)} words); send them in separate batches.'
            )
    return asked[0]


def vocabularies_of(data_samples: Sequence[BaseDataElement]) -> list[Vocabulary]:
    """The vocabulary of every sample; they may differ.

    Raises:
        ConfigError: If a sample names none.
    """
    asked = [sample.get('vocabulary') for sample in data_samples]
    for row, vocabulary in enumerate(asked):
        if not isinstance(vocabulary, Vocabulary):
            raise ConfigError(f'data sample {row} of the batch carries no vocabulary; {REMEDY}')
    return asked


def labels_of_regions(data_samples: Sequence[BaseDataElement]) -> list[int]:
    """The label of every sample; each shows one region.

    Args:
        data_samples: With ``gt_instances.labels``.

    Raises:
        DataError: If a sample does not bring one label.
    """
    labels = [sample.gt_instances.get('labels', ()) for sample in data_samples]
    for sample, own in zip(data_samples, labels, strict=True):
        if len(own) != 1:
            raise DataError(
                f'{sample.get("img_path", "a sample")} brings {len(own)} labels, not one; give a data set such as '
                'vlm_dense.MaskNounDataset.'
            )
    return [int(own[0]) for own in labels]


def best_names(logits_NS: Tensor, words: NameRows) -> Tensor:
    """Logits of the words from those of their names, of which the best counts.

    Args:
        logits_NS: (N, S) or more columns, which stay as they are.
        words: K words with S names.

    Returns:
        (N, K) or as many more columns; N may be several axes.
    """
    names_NS, others = logits_NS.tensor_split([len(words.word_of_S)], dim=-1)
    return torch.cat([max_over_synonyms(names_NS, words.word_of_S, len(words.is_base_K)), others], dim=-1)


def words_of(data_sample: BaseDataElement) -> list[str]:
    """The caller's word for every predicted instance of a sample, in the order of its predictions.

    Args:
        data_sample: A prediction with ``pred_instances.labels`` of shape (N,).

    Raises:
        ConfigError: If the sample carries no vocabulary.
    """
    words = vocabulary_of([data_sample]).words
    return [words[label] for label in data_sample.pred_instances.labels.tolist()]
