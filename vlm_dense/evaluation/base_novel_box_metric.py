"""AP of boxes and masks by words, under the caps and rules of the usual protocols."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.evaluation.average_precision import IOU_50, CategoryAccuracy, category_accuracy, load_ground_truth
from vlm_dense.evaluation.box_figures import FREQUENCY, GROUPS, frequency_figures, word_frequencies
from vlm_dense.evaluation.detection_cap import DetectionCap
from vlm_dense.evaluation.detection_table import DetectionTable
from vlm_dense.evaluation.detections import image_detections
from vlm_dense.evaluation.per_image import PerImageMetric
from vlm_dense.evaluation.report import word_rows, write_report
from vlm_dense.evaluation.words import match_words, same_vocabulary
from vlm_dense.registry import METRICS
from vlm_dense.text.vocabulary import Vocabulary

COCO_CAP, LVIS_CAP = 'picture_and_word:100', 'picture:300'
MASKS = ('required', 'where_given')


@METRICS.register_module()
class BaseNovelBoxMetric(PerImageMetric):
    """AP and recall of boxes (and masks) in percent, from one pass over all words.

    The "generalized" protocol of open-vocabulary detection (Bansal et al., arXiv 1804.04340; Zareian et al.,
    arXiv 2011.10678): one classifier over all words, one evaluation over all pictures, then the AP of each
    category is averaged over the base ones, the novel ones and all. Words come from the predictions'
    ``vocabulary`` and are matched to the categories of ``ann_file`` by name. Words that the file does not have
    are distractors: their detections count for no category.

    Means go over categories with ground truth; a mean without any is NaN. Figures of masks have ``segm_`` before
    their names. Which figures there are, by group:

    - ``slices``: ``base_ap50``, ``novel_ap50``, ``all_ap50`` (IoU 0.5), ``base_ap``, ``novel_ap``, ``all_ap``
      (mean over IoU 0.5:0.95).
    - ``coco``: ``ap``, ``ap50``, ``ap75``, ``aps``, ``apm``, ``apl`` and the mean recall ``ar``.
    - ``frequency``: ``apr``, ``apc``, ``apf`` of LVIS's rare, common and frequent words.
    - ``seen_unseen``: ``seen_ap50``, ``unseen_ap50``, ``hm_ap50`` (their harmonic mean), and the same of the recall at
      IoU 0.5, which carries the cap in its name, as ``seen_recall100``.

    Args:
        ann_file: COCO or LVIS annotations of the evaluated pictures.
        iou_types: 'bbox', 'segm' or both.
        cap: Which detections count: 'picture_and_word:100' as in COCO, 'picture:300' over all words as in LVIS, or
            'word:10000' over the data set, which is Fixed AP (`DetectionCap`). By default LVIS's with ``lvis_style``,
            else COCO's.
        figures: The groups of figures, see above.
        masks: 'required', or 'where_given' to leave out 'segm' for a model without masks.
        allow_missing: Leave out categories that the vocabulary lacks, instead of raising.
        lvis_style: LVIS's federated protocol: negative and not-exhaustive lists are respected.
        category_words: The word of categories whose names in the file are no words, or None to leave one out.
        out_file: JSON file for the figures and for the AP of every word.
        collect_device, prefix, collect_dir: As in `PerImageMetric`.

    Raises:
        ConfigError: If an argument has none of its values.
        MissingFileError: If the annotations do not exist.
    """

    def __init__(
        self,
        ann_file: str,
        iou_types: Sequence[str] = ('bbox',),
        cap: str | None = None,
        figures: Sequence[str] = ('slices',),
        masks: str = 'required',
        allow_missing: bool = False,
        lvis_style: bool = False,
        category_words: Mapping[str, str | None] | None = None,
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.iou_types = _choices('iou_types', iou_types, ('bbox', 'segm'))
        self.figures = _choices('figures', figures, (*GROUPS, FREQUENCY))
        (self.masks,) = _choices('masks', masks, MASKS)
        if not Path(ann_file).is_file():
            raise MissingFileError(
                f'BaseNovelBoxMetric: annotations {ann_file} do not exist; prepare the data set or correct ann_file.'
            )
        self.ann_file = str(ann_file)
        self.cap = DetectionCap.parse(cap or (LVIS_CAP if lvis_style else COCO_CAP))
        self.allow_missing = allow_missing
        self.lvis_style = lvis_style
        self.category_words = dict(category_words or {})
        self.out_file = out_file
        self._vocabulary: Vocabulary | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the detections of a batch.

        Raises:
            ConfigError: If pictures carry no vocabulary, or different ones.
            DataError: If masks are required and there are none.
        """
        for sample in data_samples:
            self._vocabulary = same_vocabulary(self._vocabulary, sample)
            with_masks = 'segm' in self.iou_types
            if self.masks == 'where_given':
                with_masks = with_masks and sample['pred_instances'].get('masks') is not None
            detections = image_detections(sample, with_masks=with_masks)
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
        ground_truth = load_ground_truth(self.ann_file, self.lvis_style)
        self._check_images(images, list(ground_truth.images))
        categories = self._categories(vocabulary, ground_truth.dataset['categories'])
        ids = [None if category is None else category['id'] for category in categories]
        iou_types = self._given(images)
        table = DetectionTable.from_images(images, ids, iou_types)
        figures: dict[str, float] = {}
        report: dict[str, Any] = {}
        for iou_type in iou_types:
            words = self._word_accuracy(ground_truth, table, ids, iou_type)
            head = '' if iou_type == 'bbox' else 'segm_'
            own = self._figures(words, vocabulary, categories)
            figures.update({f'{head}{name}': value for name, value in own.items()})
            ap_TK = words.precision_TCA[..., 0]
            columns = dict(ap50=ap_TK[IOU_50] * 100, ap=ap_TK.mean(axis=0) * 100)
            report[iou_type] = word_rows(vocabulary, columns, [category is None for category in ids])
        self._vocabulary = None
        if self.out_file:
            write_report(self.out_file, figures, report)
        return figures

    def _categories(self, vocabulary: Vocabulary, categories: Sequence[dict]) -> list[dict | None]:
        """The file's category of every word."""
        known = [category for category in categories if self.category_words.get(category['name'], '') is not None]
        names = [self.category_words.get(category['name']) or category['name'] for category in known]
        matched = match_words(vocabulary.words, names, self.ann_file, self.allow_missing)
        return [known[row] if row >= 0 else None for row in matched]

    def _word_accuracy(
        self, ground_truth: Any, table: DetectionTable, ids: Sequence[int | None], iou_type: str
    ) -> CategoryAccuracy:
        """Per word of K; NaN for words without category or without ground truth."""
        rows = [row for row, category in enumerate(ids) if category is not None]
        wanted = [category for category in ids if category is not None]
        found = category_accuracy(ground_truth, table, wanted, self.cap, iou_type, self.lvis_style)
        words = CategoryAccuracy(*(np.full((len(one), len(ids), one.shape[2]), np.nan) for one in found))
        for word_TKA, category_TCA in zip(words, found, strict=True):
            word_TKA[:, rows] = category_TCA
        return words

    def _figures(
        self, words: CategoryAccuracy, vocabulary: Vocabulary, categories: Sequence[dict | None]
    ) -> dict[str, float]:
        is_base_K = np.asarray(vocabulary.is_base, dtype=bool)
        figures: dict[str, float] = {}
        for group in self.figures:
            if group == FREQUENCY:
                letters = word_frequencies(vocabulary.frequency, categories, self.ann_file)
                figures.update(frequency_figures(words, letters))
            else:
                figures.update(GROUPS[group](words, is_base_K, self.cap))
        return figures

    def _given(self, images: Sequence[dict]) -> tuple[str, ...]:
        """The shapes that are evaluated; pictures without detections need none."""
        bare = [image['image'] for image in images if 'segm' not in image and len(image['scores'])]
        if 'segm' not in self.iou_types or not bare:
            for image in images:
                image.setdefault('segm', [])
            return self.iou_types
        masked = [image['image'] for image in images if image.get('segm')]
        if masked:
            raise DataError(
                f'picture {bare[0]} has boxes without masks and picture {masked[0]} has masks; a model gives masks for '
                'every picture or for none.'
            )
        if 'bbox' not in self.iou_types:
            raise DataError("the model gives no masks and nothing else is evaluated; add 'bbox' to iou_types.")
        print_log('the model gives no masks, so boxes alone are evaluated.', logger='current', level=logging.WARNING)
        return tuple(iou_type for iou_type in self.iou_types if iou_type != 'segm')

    def _check_images(self, images: Sequence[dict], known: Sequence[int | str]) -> None:
        unknown = sorted({image['image'] for image in images} - set(known))
        if unknown:
            raise DataError(
                f'{len(unknown)} evaluated pictures (first img_id: {unknown[0]}) are not in {self.ann_file}; '
                'give the data set and the metric the same annotations.'
            )
        if len(images) < len(known):
            text = f'only {len(images)} of the {len(known)} pictures in {self.ann_file} were run; AP is over these.'
            print_log(text, logger='current', level=logging.WARNING)


def _choices(name: str, given: Sequence[str] | str, known: Sequence[str]) -> tuple[str, ...]:
    chosen = (given,) if isinstance(given, str) else tuple(given)
    if not chosen or not set(chosen) <= set(known):
        listed = ', '.join(f"'{one}'" for one in known)
        raise ConfigError(f'BaseNovelBoxMetric: {name}={given!r} is none of {listed}.')
    return chosen
