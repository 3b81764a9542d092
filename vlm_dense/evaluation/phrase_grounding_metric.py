"""How often the best boxes for a phrase hit what it names."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.evaluation.per_image import PerImageMetric
from vlm_dense.registry import METRICS
from vlm_dense.text.phrase_vocabulary import phrase_vocabulary

ALL = -1


@METRICS.register_module()
class PhraseGroundingMetric(PerImageMetric):
    """Share of phrases, in percent, with a hit among the k best boxes that were found for them.

    Flickr30k Entities calls this recall@k, with the box protocols of MDETR (Kamath et al., arXiv 2104.12763, section
    4.2): ``boxes='any'`` counts a hit on any one of a phrase's boxes (ANY-BOX, files ``separateGT``), ``'merged'`` on
    the smallest box around all of them (MERGED-BOXES, files ``mergedGT``). Referring expressions, one phrase with one
    box, call it precision@k: ``figure='precision'``, ``topk=(1, 5, 10)``.

    A sample brings ``phrases`` and ``phrase_boxes`` as `PhraseGroundingDataset` gives them; labels of its predictions
    count its distinct phrases (`phrase_vocabulary`), so equal phrases of a sentence share their predictions.

    Figures: ``recall@1``, ``recall@5``, ``recall@10`` and ``recall@all``.

    Args:
        topk: The numbers of boxes; -1 stands for all.
        iou_threshold: Overlap from which a box is a hit.
        boxes: 'any' or 'merged'.
        figure: 'recall' or 'precision', the figures' name.
        collect_device, prefix, collect_dir: As in `PerImageMetric`.

    Raises:
        ConfigError: If an argument has none of its values.
    """

    def __init__(
        self,
        topk: Sequence[int] = (1, 5, 10, ALL),
        iou_threshold: float = 0.5,
        boxes: str = 'any',
        figure: str = 'recall',
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if not topk or any(k != ALL and k < 1 for k in topk):
            raise ConfigError(f'PhraseGroundingMetric: topk={tuple(topk)} needs numbers from 1 on, or -1 for all.')
        if boxes not in ('any', 'merged'):
            raise ConfigError(f"PhraseGroundingMetric: boxes='{boxes}' must be 'any' or 'merged'.")
        if figure not in ('recall', 'precision'):
            raise ConfigError(f"PhraseGroundingMetric: figure='{figure}' must be 'recall' or 'precision'.")
        self.topk = tuple(topk)
        self.iou_threshold = iou_threshold
        self.merged = boxes == 'merged'
        self.figure = figure

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep for every phrase of a batch the rank of its first hit.

        Raises:
            ConfigError: If a sample brings no phrases, or was asked for other words.
        """
        for sample in data_samples:
            if sample.get('phrases') is None or sample.get('phrase_boxes') is None:
                raise ConfigError(
                    "PhraseGroundingMetric: a sample brings no 'phrases' and 'phrase_boxes'; evaluate a "
                    'vlm_dense.PhraseGroundingDataset, with dict(type="vlm_dense.AttachVocabulary") at its end.'
                )
            self.results.append(dict(image=sample['img_id'], ranks=self._ranks(sample)))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures, in percent.

        Raises:
            DataError: If there was no phrase.
        """
        ranks = [rank for result in self.distinct(results) for rank in result['ranks']]
        if not ranks:
            raise DataError('PhraseGroundingMetric: no phrase was evaluated; is the data set empty?')
        figures = {}
        for k in self.topk:
            hits = sum(rank is not None and (k == ALL or rank < k) for rank in ranks)
            figures[f'{self.figure}@{"all" if k == ALL else k}'] = 100 * hits / len(ranks)
        return figures

    def _ranks(self, sample: Mapping) -> list[int | None]:
        """Per phrase the place of its first hit among its boxes, best first and from 0; None without a hit."""
        if not sample['phrases']:
            return []
        vocabulary, rows = phrase_vocabulary(sample['phrases'])
        asked = sample.get('vocabulary')
        if asked is not None and asked.words != vocabulary.words:
            raise ConfigError(
                f'PhraseGroundingMetric: sentence {sample["img_id"]} was asked for {len(asked)} other words than its '
                'phrases; put dict(type="vlm_dense.AttachVocabulary") without words last in the pipeline.'
            )
        found = sample['pred_instances']
        score_N = torch.as_tensor(found['scores']).cpu()
        order_N = torch.argsort(score_N, descending=True, stable=True)
        label_N = torch.as_tensor(found['labels']).cpu()[order_N]
        box_N4 = torch.as_tensor(found['bboxes']).cpu().double().reshape(-1, 4)[order_N]
        return [
            self._first_hit(box_N4[label_N == row], torch.as_tensor(own, dtype=torch.float64))
            for row, own in zip(rows, sample['phrase_boxes'], strict=True)
        ]

    def _first_hit(self, box_N4: Tensor, truth_M4: Tensor) -> int | None:
        if self.merged:
            truth_M4 = torch.cat([truth_M4[:, :2].amin(dim=0), truth_M4[:, 2:].amax(dim=0)])[None]
        hit_N = (box_iou(box_N4, truth_M4) >= self.iou_threshold).any(dim=1)
        return int(hit_N.nonzero()[0]) if hit_N.any() else None
