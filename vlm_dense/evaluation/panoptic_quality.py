"""Matching the segments of one picture.

Source: Kirillov et al., Panoptic Segmentation (arXiv:1801.00868), section 4: two segments of one category match where
their IoU is above 0.5, which at most one pair of either can be. Regions without truth (VOID) and crowds do not count
against a prediction, as in COCO's panoptic evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segment:
    """A segment of a panoptic map.

    Args:
        category: Index of its category.
        is_crowd: Whether it stands for several things that nobody told apart.
    """

    category: int
    is_crowd: bool = False


@dataclass(frozen=True)
class SegmentCounts:
    """Of every category, each (C,): sum of the IoU of matches, matches, false and missed segments."""

    iou_C: np.ndarray
    matched_C: np.ndarray
    false_C: np.ndarray
    missed_C: np.ndarray

    def __add__(self, other: 'SegmentCounts') -> 'SegmentCounts':
        pairs = zip(self.as_rows(), other.as_rows(), strict=True)
        return SegmentCounts(*(own + more for own, more in pairs))

    def as_rows(self) -> tuple[np.ndarray, ...]:
        """The four columns."""
        return self.iou_C, self.matched_C, self.false_C, self.missed_C


def match_segments(
    truth_HW: np.ndarray,
    truth: Mapping[int, Segment],
    found_HW: np.ndarray,
    found: Mapping[int, Segment],
    num_categories: int,
) -> SegmentCounts:
    """Count the matches of a picture.

    Args:
        truth_HW: Id of the true segment at every pixel; ids that ``truth`` lacks are void.
        truth: The true segments by id.
        found_HW: Id of the predicted segment at every pixel; ids that ``found`` lacks predict nothing.
        found: The predicted segments by id.
        num_categories: C.
    """
    counts = SegmentCounts(*(np.zeros(num_categories, dtype) for dtype in (float, int, int, int)))
    overlap = _overlaps(truth_HW, found_HW)
    truth_area, found_area = _areas(truth_HW), _areas(found_HW)
    void = {own: sum(n for (one, two), n in overlap.items() if two == own and one not in truth) for own in found}
    matched_truth, matched_found = set(), set()
    for (one, two), shared in overlap.items():
        if one not in truth or two not in found or truth[one].is_crowd or truth[one].category != found[two].category:
            continue
        iou = shared / (truth_area[one] + found_area[two] - shared - void[two])
        if iou > 0.5:
            counts.iou_C[found[two].category] += iou
            counts.matched_C[found[two].category] += 1
            matched_truth.add(one)
            matched_found.add(two)
    for one, segment in truth.items():
        if one not in matched_truth and not segment.is_crowd:
            counts.missed_C[segment.category] += 1
    for two, segment in found.items():
        if two not in matched_found and two in found_area:
            crowd = [one for one, true in truth.items() if true.is_crowd and true.category == segment.category]
            excused = void[two] + sum(overlap.get((one, two), 0) for one in crowd)
            counts.false_C[segment.category] += excused / found_area[two] <= 0.5
    return counts


def _overlaps(truth_HW: np.ndarray, found_HW: np.ndarray) -> dict[tuple[int, int], int]:
    # Ids have at most 24 bits, so that a pair fits one number.
    pairs, counts = np.unique(truth_HW.astype(np.int64) << 32 | found_HW.astype(np.int64), return_counts=True)
    return {(pair >> 32, pair & 0xFFFFFFFF): count for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)}


def _areas(ids_HW: np.ndarray) -> dict[int, int]:
    ids, counts = np.unique(ids_HW, return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))
