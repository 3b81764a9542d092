"""Mean IoU over classes and foreground-background IoU of episodes, each a picture and one class."""

from collections.abc import Mapping, Sequence
from operator import add
from typing import Any

import numpy as np

from vlm_dense.errors import ConfigError, DataError, VocabularyError
from vlm_dense.evaluation.label_maps import counted_pixels, picture_of
from vlm_dense.evaluation.per_image import PerImageMetric
from vlm_dense.evaluation.pixel_counts import PixelCounts, count_pixels
from vlm_dense.evaluation.report import mean_percent, plain, write_report
from vlm_dense.registry import METRICS
from vlm_dense.text.phrase_vocabulary import phrase_vocabulary

OTHERS, CLASS = 0, 1  # labels of the truth, and places in ``phrases``


@METRICS.register_module()
class ForegroundIoUMetric(PerImageMetric):
    """What few-shot segmentation reports, in percent.

    Intersections and unions are summed over all episodes of a class, then divided, then averaged over the classes
    (``miou``). ``fb_iou`` forgets the classes: it is the mean of the IoU of the foreground and of the background over
    all episodes, which stand in the result as ``foreground_iou`` and ``background_iou``. Source: the counting of HSNet
    (arXiv:2104.01538), as LSeg (arXiv:2201.03546, Sec. 4.1) uses it.

    A sample brings ``img_id``, ``phrases`` (the word for everything else, the class) and ``episodes`` (how often it
    counts), see `vlm_dense.datasets.FoldEpisodes`. Labels of its truth: 1 for the class, 0 for everything else,
    ``ignore_index`` for what does not count. Of its prediction, whose labels index the words it was asked for, only the
    class is foreground: every other word and a background of the model's own are background.

    Args:
        ignore_index: Label of pixels that do not count.
        out_file: JSON file for the figures and for the IoU of every class.
        collect_device, prefix, collect_dir: As in `PerImageMetric`.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.ignore_index = ignore_index
        self.out_file = out_file

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Raises:
            ConfigError: If a sample is no episode, or was not asked for its class.
            DataError: If labels or sizes contradict each other.
        """
        for sample in data_samples:
            phrases, times = sample.get('phrases'), sample.get('episodes')
            if phrases is None or len(phrases) != 2 or times is None:
                raise ConfigError(
                    f'ForegroundIoUMetric: {picture_of(sample)} brings no two phrases with a number of episodes; '
                    'evaluate a vlm_dense.FoldEpisodes or vlm_dense.FolderEpisodes.'
                )
            counts = self._count(sample, _label(sample))
            rows_3C = np.stack([counts.agree_C, counts.truth_C, counts.found_C])
            self.results.append(dict(image=sample['img_id'], word=phrases[CLASS], times=times, rows=rows_3C))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures, in percent.

        Raises:
            DataError: If nothing was evaluated.
        """
        if not results:
            raise DataError('ForegroundIoUMetric: nothing was evaluated; is the data set empty?')
        counts_of: dict[str, PixelCounts] = {}
        episodes_of: dict[str, int] = {}
        for one in self.distinct(results):
            counts = PixelCounts(*(one['rows'] * one['times']))
            known = counts_of.get(one['word'])
            counts_of[one['word']] = counts if known is None else add(known, counts)
            episodes_of[one['word']] = episodes_of.get(one['word'], 0) + one['times']
        iou_K = np.array([counts.iou_C[CLASS] for counts in counts_of.values()])
        rows_K3C = np.stack([[one.agree_C, one.truth_C, one.found_C] for one in counts_of.values()])
        pooled_C = PixelCounts(*rows_K3C.sum(axis=0)).iou_C
        figures = dict(
            miou=mean_percent(iou_K),
            fb_iou=float(pooled_C.mean() * 100),
            foreground_iou=float(pooled_C[CLASS] * 100),
            background_iou=float(pooled_C[OTHERS] * 100),
        )
        if self.out_file:
            rows = [
                dict(word=word, iou=plain(float(iou * 100)), episodes=episodes_of[word])
                for word, iou in zip(counts_of, iou_K, strict=True)
            ]
            write_report(self.out_file, figures, rows)
        return figures

    def _count(self, sample: Mapping, label: int) -> PixelCounts:
        truth_P, found_P = counted_pixels(sample, self.ignore_index)
        if truth_P.size and not (truth_P.min() >= OTHERS and truth_P.max() <= CLASS):
            wrong = int(truth_P.min() if truth_P.min() < OTHERS else truth_P.max())
            raise DataError(
                f'{picture_of(sample)}: label {wrong} is neither the class (1), nor everything else (0), nor ignored '
                f'({self.ignore_index}); load the label map with vlm_dense.LoadLabelMap.'
            )
        return count_pixels(truth_P, np.where(found_P == label, CLASS, OTHERS), 2)


def _label(sample: Mapping) -> int:
    """The label of the class among the words that the sample was asked for."""
    vocabulary = sample.get('vocabulary') or phrase_vocabulary(sample['phrases'])[0]
    try:
        return vocabulary.index(sample['phrases'][CLASS])
    except VocabularyError as error:
        raise ConfigError(
            f'ForegroundIoUMetric: {picture_of(sample)} was not asked for its class ({error}); put '
            'dict(type="vlm_dense.AttachVocabulary") without words last in the pipeline.'
        ) from error
