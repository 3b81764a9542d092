"""Panoptic quality of words."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.evaluation.average_precision import load_ground_truth
from vlm_dense.evaluation.panoptic_quality import Segment, SegmentCounts, match_segments
from vlm_dense.evaluation.per_image import PerImageMetric
from vlm_dense.evaluation.report import mean_percent
from vlm_dense.evaluation.words import match_words, same_vocabulary
from vlm_dense.registry import METRICS
from vlm_dense.text.vocabulary import Vocabulary

# mmdet's heads write label + 1000 * (number of the instance).
INSTANCE_OFFSET = 1000


@METRICS.register_module()
class PanopticQualityMetric(PerImageMetric):
    """PQ, SQ and RQ over all categories, things and stuff, in percent, against COCO's panoptic annotations.

    The counting is that of mmdet's ``CocoPanopticMetric``, which needs the package panopticapi (not on PyPI) and takes
    labels by position; here words are matched to categories by name, and predictions are read as mmdet's heads write
    them: ``pred_panoptic_seg.sem_seg`` holds label + 1000 * instance, a label from K on is void.

    Figures: ``pq``, ``sq``, ``rq`` and the same with ``_th`` (things) and ``_st`` (stuff); with base words among the
    words also ``pq_base`` and ``pq_novel``. Means go over categories with truth or a prediction that counts.

    Args:
        ann_file: COCO panoptic annotations of the evaluated pictures.
        seg_prefix: Folder of their PNGs.
        category_words: The word of categories whose names are no words.
        collect_device, prefix, collect_dir: As in `PerImageMetric`.

    Raises:
        MissingFileError: If the annotations do not exist.
        DataError: If they are not COCO json.
    """

    def __init__(
        self, ann_file: str, seg_prefix: str, category_words: Mapping[str, str] | None = None, **collecting: Any
    ) -> None:
        super().__init__(**collecting)
        if not Path(ann_file).is_file():
            raise MissingFileError(f'PanopticQualityMetric: annotations {ann_file} do not exist; correct ann_file.')
        self.ann_file, self.seg_prefix = str(ann_file), Path(seg_prefix)
        content = load_ground_truth(str(ann_file)).dataset
        self.categories = content['categories']
        self.category_words = dict(category_words or {})
        self._annotation_of = {annotation['image_id']: annotation for annotation in content['annotations']}
        self._row_of = {category['id']: row for row, category in enumerate(self.categories)}
        self._vocabulary: Vocabulary | None = None
        self._category_of_label: list[int] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Match the segments of a batch.

        Raises:
            ConfigError: If pictures carry no vocabulary, or different ones.
            DataError: If a picture is not annotated, or its size differs from the prediction's.
        """
        for sample in data_samples:
            vocabulary = same_vocabulary(self._vocabulary, sample)
            if vocabulary is not self._vocabulary:
                names = [self.category_words.get(one['name'], one['name']) for one in self.categories]
                self._category_of_label = match_words(vocabulary.words, names, self.ann_file)
                self._vocabulary = vocabulary
            self.results.append(dict(image=sample['img_id'], counts=self._count(sample).as_rows()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures, in percent.

        Raises:
            DataError: If nothing was evaluated.
        """
        if not results or self._vocabulary is None:
            raise DataError(f'PanopticQualityMetric: nothing was evaluated against {self.ann_file}; is the data empty?')
        counts = reduce(add, (SegmentCounts(*one['counts']) for one in self.distinct(results)))
        is_thing_C = np.array([bool(category['isthing']) for category in self.categories])
        figures: dict[str, float] = {}
        for ending, keep_C in (('', np.ones_like(is_thing_C)), ('_th', is_thing_C), ('_st', ~is_thing_C)):
            figures.update({name + ending: value for name, value in _qualities(counts, keep_C).items()})
        is_base_C = np.zeros_like(is_thing_C)
        for label, row in enumerate(self._category_of_label):
            if row >= 0:
                is_base_C[row] = self._vocabulary.is_base[label]
        if is_base_C.any():
            figures['pq_base'] = _qualities(counts, is_base_C)['pq']
            figures['pq_novel'] = _qualities(counts, ~is_base_C)['pq']
        self._vocabulary = None
        return figures

    def _count(self, sample: Mapping[str, Any]) -> SegmentCounts:
        annotation = self._annotation_of.get(sample['img_id'])
        if annotation is None:
            raise DataError(f'picture {sample["img_id"]} is not in {self.ann_file}; give data set and metric one file.')
        truth = {
            segment['id']: Segment(self._row_of[segment['category_id']], bool(segment.get('iscrowd')))
            for segment in annotation['segments_info']
        }
        # mmdet's converter of ADE20K writes the picture's name.
        truth_HW = _read_ids((self.seg_prefix / annotation['file_name']).with_suffix('.png'))
        # Void is the only 0, as ids of instances also begin there.
        found_HW = np.asarray(sample['pred_panoptic_seg']['sem_seg'])[0].astype(np.int64) + 1
        if truth_HW.shape != found_HW.shape:
            raise DataError(
                f'picture {sample["img_id"]}: the truth has {truth_HW.shape} pixels, the prediction {found_HW.shape}; '
                'keep the original size in predictions.'
            )
        found = {}
        for value in np.unique(found_HW).tolist():
            label = (value - 1) % INSTANCE_OFFSET
            # A distractor is no category: its segments only take pixels away.
            if label < len(self._category_of_label) and self._category_of_label[label] >= 0:
                found[value] = Segment(self._category_of_label[label])
        return match_segments(truth_HW, truth, found_HW, found, len(self.categories))


def _qualities(counts: SegmentCounts, keep_C: np.ndarray) -> dict[str, float]:
    iou_C, matched_C, false_C, missed_C = (column_C[keep_C] for column_C in counts.as_rows())
    all_C = matched_C + (false_C + missed_C) / 2
    with np.errstate(divide='ignore', invalid='ignore'):
        pq_C, rq_C = iou_C / all_C, matched_C / all_C
        sq_C = np.where(matched_C > 0, iou_C / matched_C, np.where(all_C > 0, 0.0, np.nan))
    return dict(pq=mean_percent(pq_C), sq=mean_percent(sq_C), rq=mean_percent(rq_C))


def _read_ids(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            rgb_HW3 = np.asarray(picture.convert('RGB')).astype(np.int64)
    except FileNotFoundError as error:
        raise MissingFileError(f'panoptic map {path} does not exist; check seg_prefix and the data set.') from error
    return rgb_HW3 @ np.array([1, 256, 65536])
