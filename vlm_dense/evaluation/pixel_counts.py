"""Intersections and unions of label maps, exact in integers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PixelCounts:
    """Pixels per class: of both maps agreeing, of the truth and of the prediction; each (C,) int64."""

    agree_C: np.ndarray
    truth_C: np.ndarray
    found_C: np.ndarray

    def first(self, num_classes: int) -> 'PixelCounts':
        """The counts of the first classes only."""
        return PixelCounts(self.agree_C[:num_classes], self.truth_C[:num_classes], self.found_C[:num_classes])

    def __add__(self, other: 'PixelCounts') -> 'PixelCounts':
        return PixelCounts(self.agree_C + other.agree_C, self.truth_C + other.truth_C, self.found_C + other.found_C)

    @property
    def iou_C(self) -> np.ndarray:
        """Intersection over union in 0..1, NaN for classes in neither map."""
        union_C = self.truth_C + self.found_C - self.agree_C
        return np.divide(self.agree_C, union_C, out=np.full(len(union_C), np.nan), where=union_C > 0)

    @property
    def accuracy_C(self) -> np.ndarray:
        """Share of every class's pixels that are right, in 0..1; NaN for classes that the truth does not show."""
        return np.divide(self.agree_C, self.truth_C, out=np.full(len(self.truth_C), np.nan), where=self.truth_C > 0)

    @property
    def weighted_iou(self) -> float:
        """IoU of the classes weighted by their pixels in the truth, in 0..1; NaN without pixels."""
        shown_C = self.truth_C > 0
        return float(np.average(self.iou_C[shown_C], weights=self.truth_C[shown_C])) if shown_C.any() else float('nan')

    @property
    def accuracy(self) -> float:
        """Share of the pixels whose class is right, in 0..1; NaN without pixels."""
        pixels = int(self.truth_C.sum())
        return int(self.agree_C.sum()) / pixels if pixels else float('nan')


def count_pixels(truth_P: np.ndarray, found_P: np.ndarray, num_classes: int) -> PixelCounts:
    """Count the pixels of one picture.

    Args:
        truth_P: Class of every pixel that counts, in 0..C-1.
        found_P: Predicted class of the same pixels; values from C on belong to no class of the truth.
        num_classes: C.
    """
    agree_C = np.bincount(truth_P[truth_P == found_P], minlength=num_classes)
    truth_C = np.bincount(truth_P, minlength=num_classes)
    found_C = np.bincount(found_P, minlength=num_classes)[:num_classes]
    return PixelCounts(agree_C, truth_C, found_C)
