"""One scene: cut-outs pasted on a background, with exact masks of what stays visible.

A scene is made by one numpy generator, in one fixed order of draws, so equal seeds give equal bytes. In scenes of
384 px the longest side of a cut-out has 90 to 220 px; tint and contrast vary, some are mirrored, all are rotated by up
to 12 degrees, and less than 10 % of any is covered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vlm_dense.datasets.pictures.cutouts import CutOut

REFERENCE_SIDE = 384
# Longest side of a cut-out in a scene of REFERENCE_SIDE pixels.
SMALLEST, LARGEST = 90, 220
# Small photographs are not blown up further than this, unless they would fall below SMALLEST.
MOST_ENLARGEMENT = 2.5
MOST_ROTATION = 12.0
MOST_OVERLAP = 0.10
PLACES_TRIED = 30
SHRINK_STEPS, SHRINK_FACTOR = 2, 0.8
# Least share of a background's shorter side that is shown.
LEAST_CROP = 0.55
# Opacity from which a pixel belongs to the object, and the band in which label maps leave it open.
SOLID = 0.5
OPEN_BAND = (0.25, 0.75)
IGNORED = 255


@dataclass(frozen=True, eq=False)
class PlacedObject:
    """One cut-out in its scene.

    Attributes:
        word: Name of its category.
        photo: Which picture it is.
        visible_HW: Boolean mask of the pixels that show it.
    """

    word: str
    photo: str
    visible_HW: np.ndarray


@dataclass(frozen=True, eq=False)
class Scene:
    """A composed picture.

    Attributes:
        image_HW3: RGB, uint8.
        labels_HW: uint8; position in the word list, its length where no word applies, 255 where it is left open.
        objects: What is in it, lowest first.
        background: Name of the background.
    """

    image_HW3: np.ndarray
    labels_HW: np.ndarray
    objects: tuple[PlacedObject, ...]
    background: str


@dataclass(eq=False)
class _Layer:
    cutout: CutOut
    rgb_hw3: np.ndarray
    alpha_hw: np.ndarray
    top: int = 0
    left: int = 0

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.alpha_hw.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def solid_hw(self) -> np.ndarray:
        return self.alpha_hw >= SOLID


def compose_scene(
    cutouts: Sequence[CutOut],
    background: tuple[str, np.ndarray],
    words: Sequence[str],
    side: int,
    rng: np.random.Generator,
) -> Scene:
    """Paste cut-outs on a background.

    Cut-outs that find no place without too much overlap are made smaller, and left out when that does not help; the
    first always stays.

    Args:
        cutouts: What to paste, lowest first.
        background: Its name, and the picture (H, W, 3) uint8.
        words: The whole word list, for the label map.
        side: Height and width of the scene in pixels.
        rng: The scene's own generator.
    """
    canvas = _crop_background(background[1], side, rng).astype(np.float32)
    layers: list[_Layer] = []
    for cutout in cutouts:
        layer = _place(cutout, layers, side, rng)
        if layer is not None:
            layers.append(layer)
    for layer in layers:
        alpha = layer.alpha_hw[..., None]
        canvas[layer.window] = canvas[layer.window] * (1 - alpha) + layer.rgb_hw3 * alpha
    return Scene(
        image_HW3=canvas.clip(0, 255).round().astype(np.uint8),
        labels_HW=_label_map(layers, words, side),
        objects=tuple(_visible(layers, side)),
        background=background[0],
    )


def _crop_background(picture: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    height, width = picture.shape[:2]
    crop = max(1, int(min(height, width) * rng.uniform(LEAST_CROP, 1.0)))
    top, left = int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))
    cropped = Image.fromarray(picture[top : top + crop, left : left + crop])
    resized = np.asarray(cropped.resize((side, side), Image.Resampling.BICUBIC))
    resized = resized[:, ::-1] if rng.random() < 0.5 else resized
    return resized * rng.uniform(0.85, 1.1)


def _place(cutout: CutOut, below: Sequence[_Layer], side: int, rng: np.random.Generator) -> _Layer | None:
    factor = side / REFERENCE_SIDE
    native = max(cutout.rgba_HW4.shape[:2])
    largest = max(SMALLEST * factor, min(LARGEST * factor, MOST_ENLARGEMENT * native))
    longest = rng.uniform(SMALLEST * factor, largest)
    mirrored, angle = rng.random() < 0.5, rng.uniform(-MOST_ROTATION, MOST_ROTATION)
    jittered = _jitter(cutout.rgba_HW4, rng)
    for _ in range(SHRINK_STEPS):
        layer = _transform(cutout, jittered, longest, mirrored, angle)
        height, width = layer.alpha_hw.shape
        for _ in range(PLACES_TRIED):
            layer.top, layer.left = int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1))
            if layer.solid_hw.any() and all(_overlap(layer, other) < MOST_OVERLAP for other in below):
                return layer
        longest *= SHRINK_FACTOR
    return None


def _jitter(rgba_HW4: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change tint, contrast and brightness of the colours; opacity stays."""
    rgb = rgba_HW4[..., :3].astype(np.float32)
    opaque = rgba_HW4[..., 3] >= 128
    mean = rgb[opaque].mean(0) if opaque.any() else rgb.mean((0, 1))
    contrast, tint, shift = rng.uniform(0.8, 1.2), rng.uniform(0.9, 1.1, 3), rng.uniform(-15, 15)
    changed = ((rgb - mean) * contrast + mean) * tint + shift
    return np.dstack([changed.clip(0, 255).round().astype(np.uint8), rgba_HW4[..., 3]])


def _transform(cutout: CutOut, rgba: np.ndarray, longest: float, mirrored: bool, angle: float) -> _Layer:
    """Mirror, scale and rotate, in premultiplied colours so that hidden pixels do not bleed in."""
    picture = Image.fromarray(rgba[:, ::-1] if mirrored else rgba).convert('RGBa')
    factor = longest / max(picture.size)
    size = (max(2, round(picture.width * factor)), max(2, round(picture.height * factor)))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    bands = [band.rotate(angle, Image.Resampling.BICUBIC, expand=True) for band in picture.split()]
    rotated = np.dstack([np.asarray(band, np.float32) for band in bands])
    alpha = rotated[..., 3] / 255
    rgb = rotated[..., :3] / np.maximum(alpha, 1 / 255)[..., None]
    return _Layer(cutout, rgb.clip(0, 255), alpha)


def _overlap(one: _Layer, other: _Layer) -> float:
    """Share of the smaller of two objects that the other covers."""
    (rows, columns), (other_rows, other_columns) = one.window, other.window
    top, bottom = max(rows.start, other_rows.start), min(rows.stop, other_rows.stop)
    left, right = max(columns.start, other_columns.start), min(columns.stop, other_columns.stop)
    if top >= bottom or left >= right:
        return 0.0
    mine = one.solid_hw[top - one.top : bottom - one.top, left - one.left : right - one.left]
    its = other.solid_hw[top - other.top : bottom - other.top, left - other.left : right - other.left]
    return float((mine & its).sum() / min(one.solid_hw.sum(), other.solid_hw.sum()))


def _visible(layers: Sequence[_Layer], side: int) -> list[PlacedObject]:
    """Masks from the top down: a pixel belongs to the uppermost object that is solid there."""
    free = np.ones((side, side), bool)
    placed = []
    for layer in reversed(layers):
        solid = np.zeros((side, side), bool)
        solid[layer.window] = layer.solid_hw
        placed.append(PlacedObject(layer.cutout.word, layer.cutout.photo, solid & free))
        free &= ~solid
    return placed[::-1]


def _label_map(layers: Sequence[_Layer], words: Sequence[str], side: int) -> np.ndarray:
    labels = np.full((side, side), len(words), np.uint8)
    position = {word: label for label, word in enumerate(words)}
    for layer in layers:
        window = labels[layer.window]
        window[(layer.alpha_hw > OPEN_BAND[0]) & (layer.alpha_hw < OPEN_BAND[1])] = IGNORED
        window[layer.alpha_hw >= OPEN_BAND[1]] = position[layer.cutout.word]
    return labels
