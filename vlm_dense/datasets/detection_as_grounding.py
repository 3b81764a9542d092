"""Class names as a prompt: those that are there, and some that are not, in random order."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from vlm_dense.datasets.prompt_budget import PromptBudget
from vlm_dense.errors import ConfigError, DataError
from vlm_dense.registry import TRANSFORMS
from vlm_dense.text.vocabulary import Vocabulary

NOT_ASKED = -1


@TRANSFORMS.register_module()
class DetectionAsGrounding(BaseTransform):
    """Ask every training picture for the words that it shows and for some that it does not, shuffled.

    Place it last, after ``PackDetInputs``, where other recipes have ``AttachVocabulary``. It takes the data set's whole
    vocabulary from the sample (`GroundingDataset` brings it) or from here, puts the words that it chose under
    ``vocabulary`` in the sample's metainfo, and relabels its boxes. Captions, which bring their ``prompt``, pass as
    they are. Labels of ignored regions whose words are not asked for become -1.

    Words that are not there come from the words of the vocabulary without a box, ignored boxes included, or from the
    sample's ``absent`` rows, where the data set lists what is known to be absent (LVIS's ``neg_category_ids``): a word
    that nobody looked for is then never taken for absent.

    Source: GLIP (arXiv:2112.03857), section 4.1; ``RANDOM_SAMPLE_NEG`` (85) and ``CONTROL_PROB`` ((0, 0, 0.5, 0)) of
    microsoft/GLIP's pre-training configs, whose four numbers are the shares here in the order one_negative,
    positives_only, full; the fourth has to be 0 there. There words are drawn from the whole vocabulary and those that
    are present are discarded afterwards, so prompts have slightly fewer; there boxes whose names do not fit are
    removed.

    Draws come from numpy's global generator, which mmengine seeds in every worker.

    Args:
        vocabulary: Anything ``Vocabulary.build`` accepts, for data sets whose samples bring none.
        max_negatives: The most words that are not there.
        full: Share of prompts with as many of them as there may be.
        one_negative: Share of prompts with one of them.
        positives_only: Share of prompts without any, where the picture shows something. The other prompts have a
            uniformly drawn number, at least one.
        tokenizer: Folder of the language model whose text window prompts have to fit: words that are not there are
            added while they do. None does not count.
        max_tokens: The text window, special tokens included.

    Raises:
        ConfigError: If the shares are no shares.
        MissingFileError: If the tokenizer is not on this machine.
        VocabularyError: If the words cannot be used.
    """

    def __init__(
        self,
        vocabulary: Any = None,
        max_negatives: int = 85,
        full: float = 0.5,
        one_negative: float = 0.0,
        positives_only: float = 0.0,
        tokenizer: str | Path | None = None,
        max_tokens: int = 256,
    ) -> None:
        shares = (one_negative, positives_only, full)
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise ConfigError(f'the shares of prompts are {shares}; give numbers from 0 that add up to at most 1.')
        if max_negatives < 1:
            raise ConfigError(f'max_negatives is {max_negatives}; give at least 1.')
        self.vocabulary = None if vocabulary is None else Vocabulary.build(vocabulary)
        self.max_negatives = max_negatives
        self._steps = np.cumsum(shares)
        self.budget = None if tokenizer is None else PromptBudget(tokenizer, max_tokens)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose words for ``results['data_samples']`` and relabel its boxes.

        Raises:
            ConfigError: If there is no data sample yet, or nobody brings a vocabulary.
            DataError: If the words of a picture do not fit the text window, or it has no word to ask for.
        """
        if 'data_samples' not in results:
            raise ConfigError("DetectionAsGrounding found no 'data_samples'; place it last, after PackDetInputs.")
        sample = results['data_samples']
        if sample.get('prompt') is not None:
            return results
        vocabulary = self.vocabulary or sample.get('vocabulary')
        if vocabulary is None:
            raise ConfigError(
                f'DetectionAsGrounding has no words, and {_name(sample)} brings none; give vocabulary=..., or a data '
                'set that brings one.'
            )
        rows = self._choose(sample, vocabulary)
        new_row_V = torch.full((len(vocabulary),), NOT_ASKED)
        new_row_V[rows] = torch.arange(len(rows))
        for instances in (sample.gt_instances, sample.get('ignored_instances')):
            if instances is not None and 'labels' in instances:
                instances.labels = new_row_V[instances.labels]
        chosen = dict(vocabulary=vocabulary.take(rows.tolist()))
        if sample.get('absent') is not None:
            absent = new_row_V[list(sample.get('absent'))].tolist()
            chosen['absent'] = tuple(row for row in absent if row != NOT_ASKED)
        sample.set_metainfo(chosen)
        return results

    def _choose(self, sample: Any, vocabulary: Vocabulary) -> np.ndarray:
        present = np.unique(_labels(sample.gt_instances))
        unknown = np.union1d(present, _labels(sample.get('ignored_instances')))
        listed = sample.get('absent')
        candidates = np.setdiff1d(np.arange(len(vocabulary)) if listed is None else np.array(listed, int), unknown)
        drawn = np.random.permutation(candidates)[: self._number(len(candidates), len(present) > 0)]
        if self.budget is not None:
            drawn = self._fitting(present, drawn, vocabulary, sample)
        rows = np.random.permutation(np.concatenate([present, drawn]))
        if not len(rows):
            raise DataError(f'{_name(sample)} shows no word, and none is known to be absent; leave it out.')
        return rows

    def _number(self, candidates: int, shows_something: bool) -> int:
        most = min(self.max_negatives, candidates)
        kind = int(np.searchsorted(self._steps, np.random.random(), side='right'))
        number = (1, 0, most, np.random.randint(1, max(most, 1) + 1))[kind]
        return min(most, number if shows_something else max(number, 1))

    def _fitting(self, present: np.ndarray, drawn: np.ndarray, vocabulary: Vocabulary, sample: Any) -> np.ndarray:
        assert self.budget is not None
        tokens = self.budget.count(vocabulary.words[row] for row in present)
        if tokens > self.budget.max_tokens:
            raise DataError(
                f'{_name(sample)} shows {len(present)} words, {tokens} tokens; the text window has '
                f'{self.budget.max_tokens}. Split the picture, shorten the words, or raise max_tokens.'
            )
        nothing = self.budget.count(())
        costs = [self.budget.count([vocabulary.words[row]]) - nothing for row in drawn]
        fits = tokens + np.cumsum(costs) <= self.budget.max_tokens
        return drawn[: int(fits.sum())]

    def __repr__(self) -> str:
        words = 'the words of the sample' if self.vocabulary is None else f'{len(self.vocabulary)} words'
        return f'{type(self).__name__}({words}, max_negatives={self.max_negatives})'


def _labels(instances: Any) -> np.ndarray:
    return np.empty(0, int) if instances is None or 'labels' not in instances else instances.labels.numpy()


def _name(sample: Any) -> str:
    return str(sample.get('img_path') or 'the picture')
