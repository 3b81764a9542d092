"""Average precision per category in one pass over all pictures and all categories."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

IOU_50 = 0


def _silent(*_: object) -> None:
    return None


def load_ground_truth(annotations: str | dict) -> COCO:
    """Index COCO annotations, given as a path or as their content."""
    return COCO(annotations, print_function=_silent)


def category_precision(
    ground_truth: COCO,
    detections: list[dict],
    category_ids: Sequence[int],
    image_ids: Sequence[int],
    iou_type: str,
    max_detections: int,
    lvis_style: bool = False,
) -> np.ndarray:
    """AP of every category at every IoU threshold 0.5, 0.55, ..., 0.95.

    Every category is scored on every picture, so a detection of something that a picture does not show counts
    against it (COCO's protocol). With ``lvis_style`` only pictures count in which the annotators looked for the
    category: Gupta et al., LVIS, arXiv 1908.03195, section 3.3.

    Args:
        ground_truth: From `load_ground_truth`.
        detections: COCO results: image_id, category_id, score and bbox (xywh, pixels) or segmentation (RLE).
        category_ids: The C categories to score.
        image_ids: The pictures that were run.
        iou_type: 'bbox' or 'segm'.
        max_detections: Detections per picture and category that count, best first. -1: all.
        lvis_style: See above.

    Returns:
        (10, C) in 0..1, NaN for categories without ground truth.
    """
    found = ground_truth.loadRes(detections)
    evaluation = COCOeval_faster(ground_truth, found, iou_type, print_function=_silent, lvis_style=lvis_style)
    params: Any = evaluation.params
    params.imgIds = sorted(image_ids)
    params.catIds = sorted(category_ids)
    params.maxDets = [max_detections if max_detections >= 0 else max(len(detections), 1)]
    params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
    evaluation.evaluate()
    evaluation.accumulate()
    precision_TRC = np.asarray(evaluation.eval['precision'])[:, :, :, 0, 0]
    precision_TRC = np.where(precision_TRC > -1, precision_TRC, np.nan)
    order = {category: column for column, category in enumerate(params.catIds)}
    # A category has either a precision at every recall or, without ground truth, at none.
    return precision_TRC.mean(axis=1)[:, [order[category] for category in category_ids]]


def keep_best_per_image(detections: list[dict], limit: int) -> list[dict]:
    """The ``limit`` best detections of every picture over all categories, as LVIS prescribes (300).

    faster-coco-eval caps per category only, so the cap over categories is applied before.
    """
    by_image: dict[int, list[dict]] = {}
    for detection in detections:
        by_image.setdefault(detection['image_id'], []).append(detection)
    best_first: Callable[[dict], float] = lambda detection: -detection['score']  # noqa: E731
    return [one for group in by_image.values() for one in sorted(group, key=best_first)[:limit]]
