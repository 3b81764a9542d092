"""Average precision and recall of every category, with the rules of COCO or of LVIS."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from vlm_dense.errors import DataError
from vlm_dense.evaluation.detection_cap import DetectionCap
from vlm_dense.evaluation.detection_table import DetectionTable

IOU_50, IOU_75 = 0, 5
AREAS = ('all', 'small', 'medium', 'large')
# The engine holds every pair of picture and category, and a dictionary per detection, at once.
PAIRS_AT_ONCE = 500_000
DETECTIONS_AT_ONCE = 300_000


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


def load_ground_truth(annotations: str | dict, lvis_style: bool = False) -> COCO:
    """Index COCO annotations, given as a path or as their content.

    Args:
        annotations: See above.
        lvis_style: Read them as LVIS, whose evaluation knows no crowds: each box counts as one object.
    """
    ground_truth = COCO(annotations, print_function=_silent)
    if lvis_style:
        for annotation in ground_truth.dataset['annotations']:
            annotation['iscrowd'] = 0
    return ground_truth


def category_accuracy(
    ground_truth: COCO,
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

    Categories are scored some at a time, which bounds memory and changes no figure.

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
    truth = _Truth(ground_truth, detections.image_ids, category_ids)
    detections = cap.apply(detections)
    if lvis_style:
        _check_federated(ground_truth, detections.image_ids)
        detections = detections.take(np.flatnonzero(truth.looked_for(detections)))
    shape = (10, len(category_ids), len(AREAS))
    precision_TCA, recall_TCA = np.full(shape, np.nan), np.full(shape, np.nan)
    for columns, images, some in truth.parts(detections):
        part = _score(ground_truth, some, [category_ids[column] for column in columns], images, iou_type, lvis_style)
        precision_TCA[:, columns], recall_TCA[:, columns] = part
    return CategoryAccuracy(precision_TCA, recall_TCA)


class _Truth:
    """Which pictures show, or are known not to show, which of C categories."""

    def __init__(self, ground_truth: COCO, image_ids: Sequence, category_ids: Sequence[int]) -> None:
        self.ground_truth = ground_truth
        self.image_ids = image_ids
        self.category_ids = np.asarray(category_ids, dtype=np.int64)
        self.row = {image: row for row, image in enumerate(image_ids)}
        self.column = {category: column for column, category in enumerate(category_ids)}
        self.shown = self._keys((a['image_id'], a['category_id']) for a in ground_truth.dataset['annotations'])

    def _keys(self, pairs: Any) -> np.ndarray:
        known = ((self.row.get(image), self.column.get(category)) for image, category in pairs)
        width = len(self.column)
        keys = (row * width + column for row, column in known if row is not None and column is not None)
        return np.unique(np.fromiter(keys, dtype=np.int64))

    def _keys_of(self, detections: DetectionTable) -> np.ndarray:
        """One key per detection, -1 for categories that are not scored."""
        order = np.argsort(self.category_ids)
        place = np.searchsorted(self.category_ids[order], detections.category_M)
        column_M = order[np.minimum(place, len(order) - 1)]
        known_M = self.category_ids[column_M] == detections.category_M
        return np.where(known_M, detections.image_M * len(self.column) + column_M, -1)

    def looked_for(self, detections: DetectionTable) -> np.ndarray:
        """Whether the picture of each detection shows its category or is known not to, (M,)."""
        images = (self.ground_truth.imgs[image] for image in self.image_ids)
        absent = self._keys((image['id'], category) for image in images for category in image['neg_category_ids'])
        return np.isin(self._keys_of(detections), np.union1d(self.shown, absent))

    def parts(self, detections: DetectionTable) -> Iterator[tuple[list[int], list, DetectionTable]]:
        """Columns that fit into memory together, the pictures that matter for them and their detections."""
        key_M = self._keys_of(detections)
        width = len(self.column)
        column_M = np.where(key_M < 0, width, key_M % max(width, 1))
        order_M = np.argsort(column_M, kind='stable')
        starts = np.searchsorted(column_M[order_M], np.arange(width + 1))
        shown_order = np.argsort(self.shown % max(width, 1), kind='stable')
        shown_starts = np.searchsorted((self.shown % max(width, 1))[shown_order], np.arange(width + 1))
        first, seen = 0, np.zeros(len(self.image_ids), dtype=bool)
        for column in range(width):
            own = np.zeros_like(seen)
            own[detections.image_M[order_M[starts[column] : starts[column + 1]]]] = True
            own[self.shown[shown_order[shown_starts[column] : shown_starts[column + 1]]] // width] = True
            pairs = int((seen | own).sum()) * (column + 1 - first)
            if column > first and (
                pairs > PAIRS_AT_ONCE or starts[column + 1] - starts[first] > DETECTIONS_AT_ONCE
            ):
                yield self._part(first, column, seen, detections, order_M[starts[first] : starts[column]])
                first, seen = column, own
            else:
                seen |= own
        if first < width:
            yield self._part(first, width, seen, detections, order_M[starts[first] : starts[width]])

    def _part(
        self, first: int, stop: int, seen: np.ndarray, detections: DetectionTable, rows: np.ndarray
    ) -> tuple[list[int], list, DetectionTable]:
        images = [self.image_ids[row] for row in np.flatnonzero(seen)]
        return list(range(first, stop)), images, detections.take(np.sort(rows))


def _score(
    ground_truth: COCO,
    detections: DetectionTable,
    category_ids: list[int],
    image_ids: list,
    iou_type: str,
    lvis_style: bool,
) -> tuple[np.ndarray, np.ndarray]:
    if not image_ids:
        nothing = np.full((10, len(category_ids), len(AREAS)), np.nan)
        return nothing, nothing
    found = ground_truth.loadRes(detections.records(iou_type))
    evaluation = COCOeval_faster(ground_truth, found, iou_type, print_function=_silent, lvis_style=lvis_style)
    params: Any = evaluation.params
    params.imgIds, params.catIds = image_ids, sorted(category_ids)
    # The cap was applied before.
    params.maxDets = [max(len(detections), 1)]
    evaluation.evaluate()
    evaluation.accumulate()
    precision_TRCA = np.asarray(evaluation.eval['precision'])[..., 0]
    recall_TCA = np.asarray(evaluation.eval['recall'])[..., 0]
    order = np.searchsorted(params.catIds, category_ids)
    # A category has either a precision at every recall or, without ground truth, at none.
    precision_TCA = np.where(precision_TRCA > -1, precision_TRCA, np.nan).mean(axis=1)
    return precision_TCA[:, order], np.where(recall_TCA > -1, recall_TCA, np.nan)[:, order]


def _check_federated(ground_truth: COCO, image_ids: Sequence) -> None:
    needed = ('neg_category_ids', 'not_exhaustive_category_ids')
    lacking = [image for image in image_ids if not all(key in ground_truth.imgs[image] for key in needed)]
    if lacking:
        raise DataError(
            f"{len(lacking)} pictures (first id: {lacking[0]}) do not have LVIS's {needed[0]} and {needed[1]}; "
            'evaluate with lvis_style=False, or give annotations in LVIS format.'
        )
    if any('frequency' not in category for category in ground_truth.dataset['categories']):
        raise DataError("the categories have no 'frequency' (r, c or f); evaluate with lvis_style=False, or add it.")
