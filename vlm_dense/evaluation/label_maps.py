"""The label maps of a sample, as metrics of pixels read them."""

from collections.abc import Mapping

import numpy as np
import torch

from vlm_dense.errors import DataError


def counted_pixels(sample: Mapping, ignored: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the truth and of the prediction, (P,) int64 each, at the pixels that count.

    Args:
        sample: With ``gt_sem_seg`` and ``pred_sem_seg``; uint8, uint16 and int32 maps alike.
        ignored: Label of the truth where nothing counts.

    Raises:
        DataError: If a map is missing, or they differ in size.
    """
    truth_HW, found_HW = _label_map(sample, 'gt_sem_seg'), _label_map(sample, 'pred_sem_seg')
    if truth_HW.shape != found_HW.shape:
        raise DataError(
            f'{picture_of(sample)}: the label map is {truth_HW.shape} but the prediction {found_HW.shape} '
            'pixels; load the annotations after the resize, or keep the original size in both.'
        )
    counts_HW = truth_HW != ignored
    return truth_HW[counts_HW], found_HW[counts_HW]


def picture_of(sample: Mapping) -> str:
    """What messages call a sample, and what tells one picture from another: the path of its label map, or its own."""
    return str(sample.get('seg_map_path') or sample.get('img_path') or sample.get('img_id'))


def _label_map(sample: Mapping, key: str) -> np.ndarray:
    if sample.get(key) is None:
        raise DataError(f'{picture_of(sample)}: {key} is missing; put LoadLabelMap into the test pipeline.')
    labels = sample[key]['data']
    labels_HW = labels.cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    return labels_HW.reshape(labels_HW.shape[-2:]).astype(np.int64)
