"""Figures of boxes or masks from the accuracy of every word."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vlm_dense.errors import DataError
from vlm_dense.evaluation.average_precision import AREAS, IOU_50, IOU_75, CategoryAccuracy
from vlm_dense.evaluation.detection_cap import DetectionCap
from vlm_dense.evaluation.report import harmonic_mean, mean_percent


def slice_figures(words: CategoryAccuracy, is_base_K: np.ndarray, cap: DetectionCap) -> dict[str, float]:
    """``ap50`` and ``ap`` of base, novel and all words (arXiv 1804.04340, 2011.10678)."""
    slices = dict(base=is_base_K, novel=~is_base_K, all=np.ones_like(is_base_K))
    ap_TK = words.precision_TCA[..., 0]
    figures = {f'{name}_ap50': mean_percent(ap_TK[IOU_50, keep_K]) for name, keep_K in slices.items()}
    return {**figures, **{f'{name}_ap': mean_percent(ap_TK[:, keep_K]) for name, keep_K in slices.items()}}


def coco_figures(words: CategoryAccuracy, is_base_K: np.ndarray, cap: DetectionCap) -> dict[str, float]:
    """COCO's ``ap``, ``ap50``, ``ap75``, by area ``aps``, ``apm``, ``apl``, and ``ar``, the mean recall."""
    ap_TKA = words.precision_TCA
    return dict(
        ap=mean_percent(ap_TKA[..., 0]),
        ap50=mean_percent(ap_TKA[IOU_50, :, 0]),
        ap75=mean_percent(ap_TKA[IOU_75, :, 0]),
        **{f'ap{AREAS[area][0]}': mean_percent(ap_TKA[..., area]) for area in (1, 2, 3)},
        ar=mean_percent(words.recall_TCA[..., 0]),
    )


def seen_unseen_figures(words: CategoryAccuracy, is_base_K: np.ndarray, cap: DetectionCap) -> dict[str, float]:
    """AP and recall at IoU 0.5 of seen and unseen words, and their harmonic means ``hm``.

    Both are averaged over words; the recall carries its cap in its name, as in ``seen_recall100``. Protocol of
    zero-shot detection on COCO 65/15: Rahman et al., Polarity Loss, arXiv 1811.08982.
    """
    figures = {}
    columns = {'ap50': words.precision_TCA[IOU_50, :, 0], f'recall{cap.limit}': words.recall_TCA[IOU_50, :, 0]}
    for name, value_K in columns.items():
        seen, unseen = mean_percent(value_K[is_base_K]), mean_percent(value_K[~is_base_K])
        figures.update({f'seen_{name}': seen, f'unseen_{name}': unseen, f'hm_{name}': harmonic_mean(seen, unseen)})
    return figures


def frequency_figures(words: CategoryAccuracy, frequency_K: Sequence[str]) -> dict[str, float]:
    """LVIS's ``apr``, ``apc`` and ``apf``: AP of rare, common and frequent words (arXiv 1908.03195)."""
    letters_K = np.asarray(frequency_K)
    ap_TK = words.precision_TCA[..., 0]
    return {f'ap{letter}': mean_percent(ap_TK[:, letters_K == letter]) for letter in 'rcf'}


def word_frequencies(
    vocabulary_frequency: Sequence[str], categories: Sequence[Mapping | None], place: str
) -> list[str]:
    """The frequency of every word: that of its category, else the vocabulary's; '' for words without category.

    Raises:
        DataError: If a word with a category has no frequency.
    """
    own = list(vocabulary_frequency) or [''] * len(categories)
    found = [
        '' if category is None else category.get('frequency', letter)
        for category, letter in zip(categories, own, strict=True)
    ]
    lacking = [category['name'] for category, letter in zip(categories, found, strict=True) if category and not letter]
    if lacking:
        raise DataError(
            f"{place} gives {len(lacking)} categories (first: '{lacking[0]}') no frequency, and neither does the "
            "vocabulary; leave 'frequency' out of figures, or use LVIS annotations."
        )
    return found


GROUPS: dict[str, Callable[[CategoryAccuracy, np.ndarray, DetectionCap], dict[str, float]]] = dict(
    slices=slice_figures, coco=coco_figures, seen_unseen=seen_unseen_figures
)
FREQUENCY = 'frequency'
