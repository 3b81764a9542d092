"""AP of words with and without boxes in training, from one pass over all words."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.evaluation.average_precision import (
    IOU_50,
    category_precision,
    keep_best_per_image,
    load_ground_truth,
)
from vlm_dense.evaluation.detections import image_detections
from vlm_dense.evaluation.per_image import PerImageMetric
from vlm_dense.evaluation.report import mean_percent, word_rows, write_report
from vlm_dense.evaluation.words import match_words, same_vocabulary
from vlm_dense.registry import METRICS
from vlm_dense.text.vocabulary import Vocabulary

LVIS_LIMIT = 300


@METRICS.register_module()
class BaseNovelBoxMetric(PerImageMetric):
    """Base, novel and all AP of boxes (and masks), in percent.

    The "generalized" protocol of open-vocabulary detection (Bansal et al., arXiv 1804.04340; Zareian et al.,
    arXiv 2011.10678): one classifier over all words, one evaluation over all pictures, then the AP of each
    category is averaged over the base ones, the novel ones and all. Words come from the predictions'
    ``vocabulary`` and are matched to the categories of ``ann_file`` by name. Words that the file does not have
    are distractors: their detections count for no category.

    Figures: ``base_ap50``, ``novel_ap50``, ``all_ap50`` (IoU 0.5) and ``base_ap``, ``novel_ap``, ``all_ap``
    (mean over IoU 0.5:0.95), for masks with ``segm_`` before the name. Means go over categories with ground
    truth; a slice without any is NaN.

    Args:
        ann_file: COCO annotations of the evaluated pictures.
        iou_types: 'bbox', 'segm' or both.
        max_dets: Detections per picture and category that count (COCO: 100).
        allow_missing: Leave out categories that the vocabulary lacks, instead of raising.
        lvis_style: LVIS's federated protocol: negative and not-exhaustive lists are respected, and
            the best 300 detections of a picture over all words count (``max_dets`` is then not used).
        out_file: JSON file for the figures and for the AP of every word.
        collect_device, prefix, collect_dir: As in `PerImageMetric`.
    """

    def __init__(
        self,
        ann_file: str,
        iou_types: Sequence[str] = ('bbox',),
        max_dets: int = 100,
        allow_missing: bool = False,
        lvis_style: bool = False,
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.iou_types = (iou_types,) if isinstance(iou_types, str) else tuple(iou_types)
        if not self.iou_types or not set(self.iou_types) <= {'bbox', 'segm'}:
            raise ConfigError(f"BaseNovelBoxMetric: iou_types={self.iou_types} must be 'bbox', 'segm' or both.")
        if not Path(ann_file).is_file():
            raise MissingFileError(
                f'BaseNovelBoxMetric: annotations {ann_file} do not exist; prepare the data set or correct ann_file.'
            )
        self.ann_file = str(ann_file)
        self.max_dets = max_dets
        self.allow_missing = allow_missing
        self.lvis_style = lvis_style
        self.out_file = out_file
        self._vocabulary: Vocabulary | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the detections of a batch.

        Raises:
            ConfigError: If pictures carry no vocabulary, or different ones.
        """
        for sample in data_samples:
            self._vocabulary = same_vocabulary(self._vocabulary, sample)
            detections = image_detections(sample, with_masks='segm' in self.iou_types)
            self.results.append(dict(detections, image=sample['img_id'], words=self._vocabulary.content_hash))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures, in percent.

        Raises:
            DataError: If names, pictures or vocabularies contradict the annotations.
        """
        vocabulary = self._vocabulary
        if vocabulary is None:
            raise DataError(
                f'BaseNovelBoxMetric: nothing was evaluated against {self.ann_file}; is the data set empty?'
            )
        if {result['words'] for result in results} != {vocabulary.content_hash}:
            raise ConfigError('the processes of one evaluation asked for different vocabularies; give them one config.')
        images = self.distinct(results)
        ground_truth = load_ground_truth(self.ann_file)
        self._check_images(images, ground_truth.getImgIds())
        categories = ground_truth.dataset['categories']
        matched = match_words(vocabulary.words, [c['name'] for c in categories], self.ann_file, self.allow_missing)
        category_of_word = [categories[row]['id'] if row >= 0 else None for row in matched]
        figures: dict[str, float] = {}
        report: dict[str, Any] = {}
        for iou_type in self.iou_types:
            ap_TK = self._word_precision(ground_truth, images, category_of_word, iou_type)
            figures.update(_figures(ap_TK, vocabulary.is_base, '' if iou_type == 'bbox' else 'segm_'))
            columns = dict(ap50=ap_TK[IOU_50] * 100, ap=ap_TK.mean(axis=0) * 100)
            report[iou_type] = word_rows(vocabulary, columns, [c is None for c in category_of_word])
        self._vocabulary = None
        if self.out_file:
            write_report(self.out_file, figures, report)
        return figures

    def _word_precision(
        self, ground_truth: Any, images: Sequence[dict], category_of_word: Sequence[int | None], iou_type: str
    ) -> np.ndarray:
        """AP per IoU threshold and word, (10, K); NaN for words without ground truth."""
        detections = [
            dict(image_id=image['image'], category_id=category, score=score, **{SHAPE_KEY[iou_type]: shape})
            for image in images
            for shape, score, label in zip(image[iou_type], image['scores'], image['labels'], strict=True)
            if (category := category_of_word[label]) is not None
        ]
        if self.lvis_style:
            detections = keep_best_per_image(detections, LVIS_LIMIT)
        known = [(word, category) for word, category in enumerate(category_of_word) if category is not None]
        ap_TK = np.full((10, len(category_of_word)), np.nan)
        ap_TK[:, [word for word, _ in known]] = category_precision(
            ground_truth,
            detections,
            [category for _, category in known],
            [image['image'] for image in images],
            iou_type,
            -1 if self.lvis_style else self.max_dets,
            self.lvis_style,
        )
        return ap_TK

    def _check_images(self, images: Sequence[dict], known: Sequence[int]) -> None:
        unknown = sorted({image['image'] for image in images} - set(known))
        if unknown:
            raise DataError(
                f'{len(unknown)} evaluated pictures (first img_id: {unknown[0]}) are not in {self.ann_file}; '
                'give the data set and the metric the same annotations.'
            )
        if len(images) < len(known):
            text = f'only {len(images)} of the {len(known)} pictures in {self.ann_file} were run; AP is over these.'
            print_log(text, logger='current', level=logging.WARNING)


SHAPE_KEY = dict(bbox='bbox', segm='segmentation')


def _figures(ap_TK: np.ndarray, is_base: Sequence[bool], head: str) -> dict[str, float]:
    base_K = np.asarray(is_base, dtype=bool)
    slices = dict(base=base_K, novel=~base_K, all=np.ones_like(base_K))
    figures = {f'{head}{name}_ap50': mean_percent(ap_TK[IOU_50, keep_K]) for name, keep_K in slices.items()}
    figures.update({f'{head}{name}_ap': mean_percent(ap_TK.mean(axis=0)[keep_K]) for name, keep_K in slices.items()})
    return figures
