"""Average precision and recall of every category, with the rules of COCO or of LVIS."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from vlm_dense.errors import DataError
from vlm_dense.evaluation.detection_cap import DetectionCap
from vlm_dense.evaluation.detection_table import DetectionTable

IOU_50, IOU_75 = 0, 5
AREAS = ('all', 'small', 'medium', 'large')
# The engine spends memory and time on every pair of picture and category, and most pairs of many words are empty.
PAIRS_AT_ONCE = 5_000


class CategoryAccuracy(NamedTuple):
    """What was measured for C categories at the IoU thresholds 0.5, 0.55, ..., 0.95 and in the `AREAS`.

    Args:
        precision_TCA: Average precision in 0..1, (10, C, 4); NaN without ground truth.
        recall_TCA: Recall of all detections under the cap in 0..1, (10, C, 4); NaN without ground truth.
    """

    precision_TCA: np.ndarray
    recall_TCA: np.ndarray


def _silent(*_: object) -> None:
    return None


class GroundTruth:
    """COCO annotations by id.

    Args:
        dataset: What the file holds. Ids of pictures are numbers or, as in mmdet's ADE20K instances, texts.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = dataset
        self.images = {image['id']: image for image in dataset['images']}
        self.categories = {category['id']: category for category in dataset['categories']}


def load_ground_truth(annotations: str | dict, lvis_style: bool = False) -> GroundTruth:
    """Index COCO annotations, given as a path or as their content.

    Args:
        annotations: See above.
        lvis_style: Read them as LVIS, whose evaluation knows no crowds: each box counts as one object.

    Raises:
        DataError: If the file is not COCO json.
    """
    if isinstance(annotations, dict):
        dataset = annotations
    else:
        try:
            dataset = json.loads(Path(annotations).read_text(encoding='utf-8'))
        except ValueError as error:
            raise DataError(f'{annotations} is not COCO json ({error}); get the file anew.') from error
    if lvis_style:
        plain = [{**annotation, 'iscrowd': 0} for annotation in dataset['annotations']]
        dataset = {**dataset, 'annotations': plain}
    return GroundTruth(dataset)


def category_accuracy(
    ground_truth: GroundTruth,
    detections: DetectionTable,
    category_ids: Sequence[int],
    cap: DetectionCap,
    iou_type: str = 'bbox',
    lvis_style: bool = False,
) -> CategoryAccuracy:
    """Score every category on the pictures of ``detections``.

    Every category is scored on every picture, so a detection of something that a picture does not show counts against
    it (COCO's protocol). With ``lvis_style`` only pictures count in which the annotators looked for the category, and
    a detection that matches nothing is no mistake where they did not mark all: Gupta et al., LVIS, arXiv 1908.03195,
    section 3.3.

    Categories are scored some at a time on the pictures that matter to them, which bounds memory and changes no figure.
    Detections of other categories are left out before the cap.

    Args:
        ground_truth: From `load_ground_truth`, with the same ``lvis_style``.
        detections: The detections, and the pictures that were run.
        category_ids: The C categories to score, each different.
        cap: Which detections count.
        iou_type: 'bbox' or 'segm'.
        lvis_style: See above.

    Raises:
        DataError: If ``lvis_style`` is asked of annotations that do not say where was looked for what.
    """
    if lvis_style:
        _check_federated(ground_truth, detections.image_ids)
    truth = _Truth(ground_truth, detections.image_ids, category_ids)
    scored = cap.apply(detections.take(np.flatnonzero(np.isin(detections.category_M, category_ids))))
    if lvis_style:
        scored = scored.take(np.flatnonzero(truth.looked_for(scored)))
    shape = (10, len(category_ids), len(AREAS))
    precision_TCA, recall_TCA = np.full(shape, np.nan), np.full(shape, np.nan)
    for part in truth.parts(scored):
        precision_TCA[:, part.columns], recall_TCA[:, part.columns] = _score(part, iou_type, lvis_style)
    return CategoryAccuracy(precision_TCA, recall_TCA)


class _Truth:
    """The annotations of some pictures, ordered by the C categories that are scored."""

    def __init__(self, ground_truth: GroundTruth, image_ids: Sequence, category_ids: Sequence[int]) -> None:
        self.images = [ground_truth.images[image] for image in image_ids]
        self.categories = [ground_truth.categories[category] for category in category_ids]
        self.row = {image: row for row, image in enumerate(image_ids)}
        self.column = {category: column for column, category in enumerate(category_ids)}
        known = (a for a in ground_truth.dataset['annotations'] if a['image_id'] in self.row)
        chosen = [annotation for annotation in known if annotation['category_id'] in self.column]
        self.annotations = sorted(chosen, key=lambda annotation: self.column[annotation['category_id']])
        self.key_A = self._keys((a['image_id'], a['category_id']) for a in self.annotations)

    def _keys(self, pairs: Iterable[tuple]) -> np.ndarray:
        """One number for each pair of picture and category."""
        width = len(self.column)
        return np.fromiter((self.row[image] * width + self.column[category] for image, category in pairs), np.int64)

    def looked_for(self, detections: DetectionTable) -> np.ndarray:
        """Whether the picture of each detection shows its category or is known not to, (M,)."""
        absent = self._keys(
            (image['id'], category)
            for image in self.images
            for category in image['neg_category_ids']
            if category in self.column
        )
        key_M = detections.image_M * len(self.column) + self.columns_of(detections)
        return np.isin(key_M, np.union1d(self.key_A, absent))

    def columns_of(self, detections: DetectionTable) -> np.ndarray:
        """The column of every detection's category, (M,)."""
        return np.fromiter((self.column[category] for category in detections.category_M.tolist()), np.int64)

    def parts(self, detections: DetectionTable) -> Iterator['_Part']:
        """Neighbouring categories that fit into memory together, with the pictures and detections that matter to them.

        A picture matters to a category that it shows or in which it is detected.
        """
        width = len(self.column)
        column_M = self.columns_of(detections)
        order_M = np.argsort(column_M, kind='stable')
        start_D = np.searchsorted(column_M[order_M], np.arange(width + 1))
        start_A = np.searchsorted(self.key_A % max(width, 1), np.arange(width + 1))
        first, seen = 0, np.zeros(len(self.images), dtype=bool)
        for column in range(width):
            own = np.zeros_like(seen)
            own[detections.image_M[order_M[start_D[column] : start_D[column + 1]]]] = True
            own[self.key_A[start_A[column] : start_A[column + 1]] // width] = True
            pairs = np.count_nonzero(seen | own) * (column + 1 - first)
            if column > first and pairs > PAIRS_AT_ONCE:
                rows = np.sort(order_M[start_D[first] : start_D[column]])
                yield self._part(first, column, seen, start_A, detections.take(rows))
                first, seen = column, own
            seen = seen | own
        if first < width:
            rows = np.sort(order_M[start_D[first] : start_D[width]])
            yield self._part(first, width, seen, start_A, detections.take(rows))

    def _part(
        self, first: int, stop: int, seen: np.ndarray, start_A: np.ndarray, detections: DetectionTable
    ) -> '_Part':
        # Own ids: the engine takes numbers only, and would never match an annotation whose id is 0.
        truth = dict(
            images=[{**self.images[row], 'id': row} for row in np.flatnonzero(seen).tolist()],
            categories=self.categories[first:stop],
            annotations=[
                {**annotation, 'id': number, 'image_id': self.row[annotation['image_id']]}
                for number, annotation in enumerate(self.annotations[start_A[first] : start_A[stop]], start=1)
            ],
        )
        return _Part(slice(first, stop), COCO(truth, print_function=_silent), detections)


class _Part(NamedTuple):
    columns: slice
    ground_truth: COCO
    detections: DetectionTable


def _score(part: _Part, iou_type: str, lvis_style: bool) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of the part's categories, (10, columns, 4)."""
    ids = [category['id'] for category in part.ground_truth.dataset['categories']]
    if not part.ground_truth.dataset['images']:
        nothing = np.full((10, len(ids), len(AREAS)), np.nan)
        return nothing, nothing
    found = part.ground_truth.loadRes(part.detections.records(iou_type))
    evaluation = COCOeval_faster(part.ground_truth, found, iou_type, print_function=_silent, lvis_style=lvis_style)
    params: Any = evaluation.params
    # The cap was applied before.
    params.maxDets = [max(len(part.detections), 1)]
    evaluation.evaluate()
    evaluation.accumulate()
    precision_TRCA = np.asarray(evaluation.eval['precision'])[..., 0]
    recall_TCA = np.asarray(evaluation.eval['recall'])[..., 0]
    order = np.searchsorted(params.catIds, ids)
    # A category has either a precision at every recall or, without ground truth, at none.
    precision_TCA = np.where(precision_TRCA > -1, precision_TRCA, np.nan).mean(axis=1)
    return precision_TCA[:, order], np.where(recall_TCA > -1, recall_TCA, np.nan)[:, order]


def _check_federated(ground_truth: GroundTruth, image_ids: Sequence) -> None:
    needed = ('neg_category_ids', 'not_exhaustive_category_ids')
    lacking = [image for image in image_ids if not all(key in ground_truth.images[image] for key in needed)]
    if lacking:
        raise DataError(
            f"{len(lacking)} pictures (first id: {lacking[0]}) do not have LVIS's {needed[0]} and {needed[1]}; "
            'evaluate with lvis_style=False, or give annotations in LVIS format.'
        )
    if any('frequency' not in category for category in ground_truth.dataset['categories']):
        raise DataError("the categories have no 'frequency' (r, c or f); evaluate with lvis_style=False, or add it.")
