"""A sample of any data set as a picture with words; what is in the sample decides what is drawn."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vlm_dense.visualization import draw_detections, draw_label_map, draw_unlabelled

BRIGHTEST = 255
UNNAMED = 'label {} without a word'


class Drawn(NamedTuple):
    """A picture and what is on it."""

    image_HW3: np.ndarray
    what: str


def draw_sample(inputs_3HW: Any, sample: Any, classes: Sequence[str], ignore: int | None, is_original: bool) -> Drawn:
    """Draw boxes, masks and the label map of a packed sample.

    Args:
        inputs_3HW: The picture as the model sees it, BGR.
        sample: A data sample of mmdet or mmseg.
        classes: Words of the labels where the sample has no vocabulary.
        ignore: Value of label maps for pixels that do not count, besides all that are neither word nor background.
        is_original: Whether boxes without masks are in pixels of the original picture.

    Returns:
        RGB uint8 in the size of the truth, and a line about it.
    """
    image_HW3 = np.clip(np.asarray(inputs_3HW), 0, BRIGHTEST).astype(np.uint8).transpose(1, 2, 0)[..., ::-1]
    words = list(sample.vocabulary.words if 'vocabulary' in sample else classes)
    if 'vocabulary' not in sample and words[-1:] == ['background']:
        words.pop()  # a label without a word
    told = []
    if 'gt_sem_seg' in sample:
        labels_HW = np.asarray(sample.gt_sem_seg.data).squeeze()
        image_HW3 = _resized(image_HW3, labels_HW.shape)
        image_HW3, line = _with_labels(image_HW3, labels_HW, words, ignore)
        told.append(line)
    for part, prefix in (('gt_instances', ''), ('ignored_instances', 'ignored: ')):
        if len(sample.get(part, ())):
            shape = _truth_shape(sample.get(part), sample, image_HW3.shape[:2], is_original)
            image_HW3 = _with_instances(_resized(image_HW3, shape), sample.get(part), words, prefix)
            told.append(f'{prefix}{len(sample.get(part))} object(s)')
    told += [str(sample.get(key)) for key in ('text', 'caption') if sample.get(key)]
    return Drawn(image_HW3, '; '.join(told) or 'no truth')


def _with_labels(
    image_HW3: np.ndarray, labels_HW: np.ndarray, words: list[str], ignore: int | None
) -> tuple[np.ndarray, str]:
    ignored_HW = (labels_HW < 0) | (labels_HW > len(words)) | (labels_HW == (-1 if ignore is None else ignore))
    background_HW = (labels_HW == len(words)) & ~ignored_HW  # the column behind the words
    shown_HW = np.where(ignored_HW | background_HW, -1, labels_HW)
    present = np.unique(shown_HW[shown_HW >= 0])
    plain_HW3 = draw_unlabelled(image_HW3, background_HW, ignored_HW)
    # Of many words few are in one picture: only those are counted.
    places_HW = np.where(shown_HW >= 0, np.searchsorted(present, shown_HW), -1)
    drawn_HW3 = draw_label_map(plain_HW3, places_HW, [words[label] for label in present], min_pixels=1)
    shares = f'background {background_HW.mean():.0%}, ignored {ignored_HW.mean():.0%}'
    return drawn_HW3, f'{len(present)} word(s), {shares}'


def _with_instances(image_HW3: np.ndarray, instances: Any, words: list[str], prefix: str) -> np.ndarray:
    labels = np.asarray(instances.labels).tolist()
    names = [prefix + (words[label] if label < len(words) else UNNAMED.format(label)) for label in labels]
    masks_NHW = instances.masks.to_ndarray().astype(bool) if 'masks' in instances else None
    boxes = instances.bboxes
    boxes_N4 = np.asarray(getattr(boxes, 'tensor', boxes))
    return draw_detections(image_HW3, boxes_N4, names, masks_NHW=masks_NHW)


def _truth_shape(instances: Any, sample: Any, shape: tuple[int, int], is_original: bool) -> tuple[int, int]:
    if 'masks' in instances:
        return instances.masks.height, instances.masks.width
    return tuple(sample.ori_shape[:2]) if is_original else shape


def _resized(image_HW3: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The picture in the size of its truth: labels are never interpolated."""
    if image_HW3.shape[:2] == tuple(shape):
        return image_HW3
    height, width = shape
    return np.asarray(Image.fromarray(image_HW3).resize((width, height), Image.Resampling.BILINEAR))
