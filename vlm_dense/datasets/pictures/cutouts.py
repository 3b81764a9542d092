"""Named cut-outs and backgrounds, whatever they were made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

# Twice the largest size at which a cut-out is pasted into a scene of the default size.
STORED_SIDE = 360
STORED_BACKGROUND_SIDE = 768
# Pixels fainter than this do not count as part of the object when it is trimmed (0..255).
FAINT_ALPHA = 24


@dataclass(frozen=True, eq=False)
class CutOut:
    """One picture of one object with its mask.

    Attributes:
        word: Name of the category.
        photo: Which picture it is, unique in its source.
        rgba_HW4: Colours and opacity, uint8, straight (not premultiplied) alpha, trimmed to the object.
    """

    word: str
    photo: str
    rgba_HW4: np.ndarray


@dataclass(frozen=True, eq=False)
class PictureSource:
    """Everything that scenes are composed of.

    Attributes:
        name: ``'stamps'`` or ``'drawn'``.
        origin: Where the pictures come from, one sentence.
        licence: Their licence.
        cutouts: All cut-outs; those of one word stand in a fixed order.
        backgrounds: Name to picture (H, W, 3) uint8.
    """

    name: str
    origin: str
    licence: str
    cutouts: tuple[CutOut, ...]
    backgrounds: Mapping[str, np.ndarray]

    @property
    def words(self) -> list[str]:
        """The category names, sorted."""
        return sorted({cutout.word for cutout in self.cutouts})

    def by_word(self) -> dict[str, list[CutOut]]:
        """The cut-outs of every word."""
        groups: dict[str, list[CutOut]] = {word: [] for word in self.words}
        for cutout in self.cutouts:
            groups[cutout.word].append(cutout)
        return groups


def trim(rgba: Image.Image) -> np.ndarray:
    """Cut an RGBA picture to its object and bound its size.

    Returns:
        (H, W, 4) uint8 with ``max(H, W) <= STORED_SIDE``.
    """
    alpha = np.asarray(rgba.getchannel('A'))
    rows, columns = np.nonzero(alpha >= FAINT_ALPHA)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return np.asarray(shrink(rgba.crop(box), STORED_SIDE))


def shrink(picture: Image.Image, longest: int) -> Image.Image:
    """Scale a picture down to a longest side; colours of transparent pixels do not bleed in."""
    factor = longest / max(picture.size)
    if factor >= 1:
        return picture
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    if picture.mode != 'RGBA':
        return picture.resize(size, Image.Resampling.LANCZOS)
    return picture.convert('RGBa').resize(size, Image.Resampling.BICUBIC).convert('RGBA')


def read_background(path: Path) -> np.ndarray:
    """Read a photograph as (H, W, 3) uint8."""
    with Image.open(path) as photo:
        return np.asarray(shrink(photo.convert('RGB'), STORED_BACKGROUND_SIDE))
