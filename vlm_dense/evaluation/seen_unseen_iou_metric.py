"""Mean IoU of words with and without masks in training, and their harmonic mean."""

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, Literal

import numpy as np

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.evaluation.label_maps import counted_pixels, picture_of
from vlm_dense.evaluation.per_image import PerImageMetric
from vlm_dense.evaluation.pixel_counts import PixelCounts, count_pixels
from vlm_dense.evaluation.report import harmonic_mean, mean_percent, word_rows, write_report
from vlm_dense.evaluation.words import match_words, same_vocabulary
from vlm_dense.registry import METRICS
from vlm_dense.text.vocabulary import Vocabulary


@METRICS.register_module()
class SeenUnseenIoUMetric(PerImageMetric):
    """Seen, unseen and harmonic mean IoU of label maps, in percent.

    Pixels are counted over the whole data set and per class, then divided; the means go over classes that occur
    in the truth or in a prediction. ``hiou`` = 2 S U / (S + U) (generalized zero-shot segmentation: Xian et al.,
    CVPR 2019, arXiv 1904.11227 follow the same rule).

    The truth's labels are indices into the data set's words, that number itself is background, ``ignore_index``
    does not count. Predictions are indices into their own ``vocabulary`` (its length: background). The data
    set's words are ``words``, or else the predictions' vocabulary; both are matched by name. A word that the
    data set does not have is a distractor: pixels given to it are wrong and belong to no class, or are background.

    Figures: ``seen_miou``, ``unseen_miou``, ``hiou``, ``miou`` (all words), ``mean_accuracy`` (share of a word's
    pixels that are right, mean over the words that the truth shows), ``fwiou`` (IoU weighted by the pixels of the
    truth), ``pixel_accuracy`` (background included) and, where there is background, ``background_iou``; a mean over
    nothing is NaN.

    Args:
        words: What the labels of the truth mean, anything that `Vocabulary.build` takes.
        ignore_index: Label of pixels that do not count; by default 255, and 65535 from 255 words on.
        background_counts: Whether background is one of the classes of ``miou``, ``mean_accuracy`` and ``fwiou``, as
            published for VOC-21, PASCAL Context-60 and COCO-Object; never of ``seen_miou`` and ``unseen_miou``.
        distractors: What pixels given to a distractor are: ``'wrong'``, or ``'background'`` where words describe the
            background (VOC-20b of CAT-Seg, arXiv 2303.11797).
        out_file: JSON file for the figures and for the IoU of every word.
        collect_device, prefix, collect_dir: As in `PerImageMetric`.

    Raises:
        ConfigError: If ``distractors`` is neither of its two values.
    """

    def __init__(
        self,
        words: Any = None,
        ignore_index: int | None = None,
        background_counts: bool = False,
        distractors: Literal['wrong', 'background'] = 'wrong',
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if distractors not in ('wrong', 'background'):
            raise ConfigError(f"SeenUnseenIoUMetric: distractors={distractors!r}; write 'wrong' or 'background'.")
        self.ignore_index = ignore_index
        self.background_counts = background_counts
        self.distractors = distractors
        self.out_file = out_file
        self._given_words = _words_of(words)
        self._vocabulary: Vocabulary | None = None
        self._class_of_label: np.ndarray | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Raises:
            ConfigError: If vocabularies are missing or differ, or ``ignore_index`` is the index of a word.
            DataError: If names, labels or sizes contradict each other.
        """
        for sample in data_samples:
            vocabulary = same_vocabulary(self._vocabulary, sample)
            if vocabulary is not self._vocabulary:
                self._vocabulary, self._class_of_label = vocabulary, self._match(vocabulary)
            counts = self._count(sample)
            # A picture shows few of the words: sending these only keeps 847 words x 2000 pictures small.
            shown = np.flatnonzero(counts.truth_C + counts.found_C)
            rows = np.stack([shown, counts.agree_C[shown], counts.truth_C[shown], counts.found_C[shown]])
            self.results.append(dict(image=picture_of(sample), rows=rows, words=vocabulary.content_hash))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures, in percent.

        Raises:
            ConfigError: If the processes asked for different vocabularies.
            DataError: If nothing was evaluated.
        """
        vocabulary = self._vocabulary
        if vocabulary is None or not results:
            raise DataError('SeenUnseenIoUMetric: nothing was evaluated; is the data set empty?')
        if {result['words'] for result in results} != {vocabulary.content_hash}:
            raise ConfigError('the processes of one evaluation asked for different vocabularies; give them one config.')
        names = self._data_words(vocabulary)
        matched = match_words(vocabulary.words, names, 'the data set')
        counts = reduce(add, (_dense(one['rows'], len(names) + 1) for one in self.distinct(results)))
        is_seen_K = np.zeros(len(names), dtype=bool)
        is_seen_K[[row for row in matched if row >= 0]] = [
            is_base for row, is_base in zip(matched, vocabulary.is_base, strict=True) if row >= 0
        ]
        figures = _figures(counts, is_seen_K, self.background_counts)
        if self.out_file:
            # Row -1 is a distractor: it has no IoU.
            iou_K = np.append(counts.iou_C[:-1], math.nan)[matched] * 100
            rows = word_rows(vocabulary, {'iou': iou_K}, [row < 0 for row in matched])
            write_report(self.out_file, figures, rows)
        self._vocabulary = None
        return figures

    def _data_words(self, vocabulary: Vocabulary) -> tuple[str, ...]:
        return vocabulary.words if self._given_words is None else self._given_words

    def _match(self, vocabulary: Vocabulary) -> np.ndarray:
        """The truth's class of every predicted label, (K + 1,); distractors come after the background."""
        names = self._data_words(vocabulary)
        background = len(names)
        ignored = self._ignored(background)
        other = background if self.distractors == 'background' else background + 1
        if 0 <= ignored <= background:
            raise ConfigError(
                f'SeenUnseenIoUMetric: ignore_index={ignored} is also the label of a class '
                f'({len(names)} words and background); store the label maps as uint16 and set ignore_index=65535.'
            )
        matched = match_words(vocabulary.words, names, 'the data set')
        return np.array([row if row >= 0 else other for row in matched] + [background], dtype=np.int64)

    def _ignored(self, num_words: int) -> int:
        # Data sets bring mmdet and mmseg, which reading a report does not need.
        from vlm_dense.datasets.label_values import ignore_label

        return ignore_label(num_words) if self.ignore_index is None else self.ignore_index

    def _count(self, sample: dict) -> PixelCounts:
        assert self._class_of_label is not None
        assert self._vocabulary is not None
        num_classes = len(self._data_words(self._vocabulary)) + 1
        ignored = self._ignored(num_classes - 1)
        truth_P, found_P = counted_pixels(sample, ignored)
        if truth_P.size and not (truth_P.min() >= 0 and truth_P.max() < num_classes):
            wrong = int(truth_P.min() if truth_P.min() < 0 else truth_P.max())
            raise DataError(
                f'{picture_of(sample)}: label {wrong} is neither one of the {num_classes - 1} words, nor background '
                f'({num_classes - 1}), nor ignored ({ignored}); check the label maps and the vocabulary.'
            )
        return count_pixels(truth_P, self._class_of_label[found_P], num_classes)


def _words_of(spec: Any) -> tuple[str, ...] | None:
    if spec is None:
        return None
    from vlm_dense.text.vocabulary import Vocabulary

    return Vocabulary.build(spec).words


def _dense(rows: np.ndarray, num_classes: int) -> PixelCounts:
    shown, *counts = rows
    dense_3C = np.zeros((len(counts), num_classes), dtype=np.int64)
    dense_3C[:, shown] = counts
    return PixelCounts(*dense_3C)


def _figures(counts: PixelCounts, is_seen_K: np.ndarray, background_counts: bool) -> dict[str, float]:
    iou_K, background = counts.iou_C[:-1], float(counts.iou_C[-1])
    seen, unseen = mean_percent(iou_K[is_seen_K]), mean_percent(iou_K[~is_seen_K])
    classes = counts if background_counts else counts.first(len(is_seen_K))
    figures = dict(
        seen_miou=seen,
        unseen_miou=unseen,
        hiou=harmonic_mean(seen, unseen),
        miou=mean_percent(classes.iou_C),
        mean_accuracy=mean_percent(classes.accuracy_C),
        fwiou=classes.weighted_iou * 100,
        pixel_accuracy=counts.accuracy * 100,
    )
    return figures if math.isnan(background) else dict(figures, background_iou=background * 100)
