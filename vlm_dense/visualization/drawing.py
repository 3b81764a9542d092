"""Boxes, masks and words on a picture, drawn by the ``supervision`` package.

``H W`` pixels, ``N`` detections. Pictures are RGB uint8.
"""

import colorsys
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

GOLDEN_RATIO = 0.618033988749895
SMALLEST_LETTERS = 12  # pixels
LETTERS_PER_WIDTH = 32
STRIPE = 4  # pixels


def color_of(word: str) -> tuple[int, int, int]:
    """The RGB colour of a word: the same word has the same colour in every picture and every run."""
    digest = int.from_bytes(hashlib.sha256(word.encode('utf-8')).digest()[:4], 'big')
    hue = (digest * GOLDEN_RATIO) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 0.85)
    return int(red * 255), int(green * 255), int(blue * 255)


@cache
def font_path() -> str:
    """A font with Latin, Greek and Cyrillic letters; it ships with matplotlib."""
    from matplotlib.font_manager import findfont

    return str(findfont('DejaVu Sans'))


def draw_detections(
    image_HW3: np.ndarray,
    boxes_N4: np.ndarray,
    words: Sequence[str],
    scores_N: np.ndarray | None = None,
    masks_NHW: np.ndarray | None = None,
) -> np.ndarray:
    """Draw named boxes, and masks where given.

    Args:
        image_HW3: RGB picture, uint8; it is not changed.
        boxes_N4: Boxes ``xyxy`` in pixels.
        words: One word per box.
        scores_N: Scores in [0, 1], printed behind the word.
        masks_NHW: Boolean masks of picture size.

    Returns:
        A new RGB picture of the same size.
    """
    if not len(words):
        return image_HW3.copy()
    import supervision as sv

    palette, class_ids_N = _palette(words)
    boxes_N4 = np.asarray(boxes_N4, dtype=np.float32).reshape(-1, 4)
    masks = None if masks_NHW is None else np.asarray(masks_NHW, dtype=bool)
    detections = sv.Detections(xyxy=boxes_N4, mask=masks, class_id=class_ids_N)
    labels = list(words) if scores_N is None else [f'{w} {s:.2f}' for w, s in zip(words, scores_N, strict=True)]
    scene = _swap_red_blue(image_HW3)
    if masks is not None:
        scene = sv.MaskAnnotator(color=palette, opacity=0.4).annotate(scene, detections)
    scene = sv.BoxAnnotator(color=palette, thickness=2).annotate(scene, detections)
    writer = _writer(palette, image_HW3.shape[1], sv.Position.TOP_LEFT)
    return _swap_red_blue(np.asarray(writer.annotate(scene, detections, labels=labels)))


def draw_label_map(image_HW3: np.ndarray, labels_HW: np.ndarray, words: Sequence[str], min_pixels: int) -> np.ndarray:
    """Paint the pixels of every word and write the word on its largest connected region.

    Args:
        image_HW3: RGB picture, uint8.
        labels_HW: Index into ``words`` per pixel; any other value is left unpainted.
        words: The vocabulary.
        min_pixels: Words covering fewer pixels are left out of the picture (not out of the result).

    Returns:
        A new RGB picture of the same size.
    """
    present = [k for k in range(len(words)) if (labels_HW == k).sum() >= min_pixels]
    if not present:
        return image_HW3.copy()
    import supervision as sv

    masks_NHW = np.stack([labels_HW == k for k in present])
    names = [words[k] for k in present]
    palette, class_ids_N = _palette(names)
    detections = sv.Detections(xyxy=_largest_region_boxes(masks_NHW), mask=masks_NHW, class_id=class_ids_N)
    scene = sv.MaskAnnotator(color=palette, opacity=0.55).annotate(_swap_red_blue(image_HW3), detections)
    writer = _writer(palette, image_HW3.shape[1], sv.Position.CENTER)
    return _swap_red_blue(np.asarray(writer.annotate(scene, detections, labels=names)))


def draw_unlabelled(image_HW3: np.ndarray, background_HW: np.ndarray, ignored_HW: np.ndarray) -> np.ndarray:
    """Take the colour from pixels to which no word applies, and stripe those that do not count.

    Args:
        image_HW3: RGB picture, uint8.
        background_HW: True where the truth is that no word applies.
        ignored_HW: True where nothing is known.

    Returns:
        A new RGB picture of the same size.
    """
    drawn_HW3 = image_HW3.copy()
    drawn_HW3[background_HW] = image_HW3[background_HW].mean(axis=1, keepdims=True).astype(np.uint8)
    rows_H1, columns_1W = np.ogrid[: image_HW3.shape[0], : image_HW3.shape[1]]
    is_dark_HW = (rows_H1 + columns_1W) // STRIPE % 2 == 0
    drawn_HW3[ignored_HW & is_dark_HW] = 0
    drawn_HW3[ignored_HW & ~is_dark_HW] = 255
    return drawn_HW3


def _swap_red_blue(image_HW3: np.ndarray) -> np.ndarray:
    # supervision draws on pictures in OpenCV's channel order.
    return np.ascontiguousarray(image_HW3[..., ::-1])


def _writer(palette: Any, width: int, position: Any) -> Any:
    import supervision as sv

    # Readable also where a large picture is shown small.
    size = max(SMALLEST_LETTERS, width // LETTERS_PER_WIDTH)
    return sv.RichLabelAnnotator(
        color=palette, font_path=font_path(), font_size=size, text_padding=3, text_position=position
    )


def _palette(words: Sequence[str]) -> tuple[Any, np.ndarray]:
    import supervision as sv

    distinct = list(dict.fromkeys(words))
    palette = sv.ColorPalette(colors=[sv.Color(*color_of(word)) for word in distinct])
    return palette, np.array([distinct.index(word) for word in words])


def _largest_region_boxes(masks_NHW: np.ndarray) -> np.ndarray:
    import cv2

    boxes = []
    for mask_HW in masks_NHW:
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8))
        x, y, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
        boxes.append((x, y, x + width, y + height))
    return np.array(boxes, dtype=np.float32)
