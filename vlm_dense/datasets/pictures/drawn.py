"""Source "drawn": coloured shapes on painted backgrounds, made here, so that nothing need be downloaded."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from vlm_dense.datasets.pictures.cutouts import CutOut, PictureSource, trim

ORIGIN = 'coloured shapes drawn by vlm_dense'
LICENCE = 'Apache-2.0'
SIDE = 128
OVERSAMPLING = 3
VARIANTS = 2
NUM_BACKGROUNDS = 10
BACKGROUND_SIDE = 448

COLOURS = {
    'red': (214, 40, 40),
    'orange': (244, 140, 20),
    'yellow': (245, 220, 40),
    'green': (40, 160, 70),
    'blue': (40, 90, 210),
    'purple': (130, 50, 170),
    'pink': (245, 130, 190),
    'brown': (120, 75, 40),
}

Outline = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _rays(points: int, inner: float) -> Outline:
    """A star with tips at radius 0.95 and notches at ``inner`` of it; ``inner = cos(pi / points)`` is a polygon."""
    half = np.pi / points
    notch = 0.95 * inner * np.array([np.cos(half), np.sin(half)])

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        angle = np.abs((np.arctan2(x, -y) + half) % (2 * half) - half)
        radius = np.hypot(x, y)
        u, v = radius * np.cos(angle), radius * np.sin(angle)
        return (notch[0] - 0.95) * v - notch[1] * (u - 0.95) >= 0

    return inside


SHAPES: dict[str, Outline] = {
    'circle': lambda x, y: np.hypot(x, y) < 0.9,
    'square': lambda x, y: np.maximum(abs(x), abs(y)) < 0.75,
    'triangle': _rays(3, np.cos(np.pi / 3)),
    'diamond': lambda x, y: abs(x) / 0.65 + abs(y) / 0.95 < 1,
    'hexagon': _rays(6, np.cos(np.pi / 6)),
    'star': _rays(5, 0.42),
    'cross': lambda x, y: (np.minimum(abs(x), abs(y)) < 0.28) & (np.maximum(abs(x), abs(y)) < 0.9),
    'ring': lambda x, y: abs(np.hypot(x, y) - 0.7) < 0.22,
    'crescent': lambda x, y: (np.hypot(x, y) < 0.9) & (np.hypot(x - 0.45, y) > 0.75),
    'heart': lambda x, y: ((1.25 * x) ** 2 + (1.2 * y) ** 2 - 1) ** 3 + (1.25 * x) ** 2 * (1.2 * y) ** 3 < 0,
    'drop': lambda x, y: (np.hypot(x, y - 0.3) < 0.6) | ((y > -0.95) & (y < 0.1) & (abs(x) < 0.54 * (y + 0.95))),
    'arrow': lambda x, y: ((abs(y) < 0.22) & (abs(x) < 0.9) & (x < 0.2)) | ((x >= 0.1) & (abs(y) < 0.9 * (0.95 - x))),
}


@lru_cache(maxsize=1)
def drawn_source() -> PictureSource:
    """All 96 coloured shapes in two drawings each, and ten backgrounds; always the same pictures."""
    words = [(f'{colour} {shape}', colour, shape) for colour in COLOURS for shape in SHAPES]
    cutouts = [
        CutOut(word, f'{word}-{variant}', _draw(colour, shape, np.random.default_rng([row, variant])))
        for row, (word, colour, shape) in enumerate(words)
        for variant in range(VARIANTS)
    ]
    backgrounds = {f'painted-{row}': _paint(np.random.default_rng([1000, row])) for row in range(NUM_BACKGROUNDS)}
    return PictureSource('drawn', ORIGIN, LICENCE, tuple(cutouts), backgrounds)


def _draw(colour: str, shape: str, rng: np.random.Generator) -> np.ndarray:
    fine = (np.arange(SIDE * OVERSAMPLING) + 0.5) / (SIDE * OVERSAMPLING) * 2 - 1
    stretch = rng.uniform(0.85, 1.0, 2)
    inside = SHAPES[shape](fine[None, :] / stretch[0], fine[:, None] / stretch[1]).astype(np.float32)
    alpha = inside.reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING).mean((1, 3))
    coarse = np.linspace(-1, 1, SIDE)
    direction = rng.uniform(0, 2 * np.pi)
    light = 1 + 0.18 * (np.cos(direction) * coarse[None, :] + np.sin(direction) * coarse[:, None])
    light = light + 0.05 * rng.standard_normal((SIDE, SIDE))
    rgb = np.array(COLOURS[colour]) * light[..., None] + rng.uniform(-12, 12, 3)
    rgba = np.dstack([rgb.clip(0, 255), alpha * 255]).round().astype(np.uint8)
    return trim(Image.fromarray(rgba, 'RGBA'))


def _paint(rng: np.random.Generator) -> np.ndarray:
    """A gradient between two dull colours with cloudy noise of three sizes."""
    axis = np.linspace(-1, 1, BACKGROUND_SIDE)
    direction = rng.uniform(0, 2 * np.pi)
    slope = 0.5 + 0.35 * (np.cos(direction) * axis[None, :] + np.sin(direction) * axis[:, None])
    grey = rng.uniform(70, 190, 2)
    ends = grey[:, None] + rng.uniform(-30, 30, (2, 3))
    picture = ends[0] * slope[..., None] + ends[1] * (1 - slope[..., None])
    for cells, strength in ((6, 22), (24, 14), (96, 9)):
        noise = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
        smooth = np.asarray(noise.resize((BACKGROUND_SIDE, BACKGROUND_SIDE), Image.Resampling.BICUBIC))
        picture = picture + strength * smooth[..., None]
    return picture.clip(0, 255).round().astype(np.uint8)
