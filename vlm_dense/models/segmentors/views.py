"""At which sizes a picture is looked at, and whether mirrored too.

Shapes: B pictures, H W pixels of the input, h w of a view.
"""

import difflib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional

from vlm_dense.errors import ConfigError

MIRRORED = (-1,)  # left and right change places


class Looks(NamedTuple):
    """Which views of a picture are averaged.

    Args:
        scales: Factors of height and width.
        flip: Look at each size mirrored too, left to right.
        size_multiple: Height and width of every view are multiples of it: the nearest ones, and at least one.
    """

    scales: Sequence[float] = (1.0,)
    flip: bool = False
    size_multiple: int = 1


def looks_of(test_cfg: Mapping[str, Any] | None) -> Looks:
    """The settings of these names in ``test_cfg``.

    Raises:
        ConfigError: If one of them is of no use.
    """
    looks = Looks(**{name: value for name, value in (test_cfg or {}).items() if name in Looks._fields})
    scales, flip, multiple = looks
    if isinstance(scales, str) or not isinstance(scales, Sequence) or not scales or not all(map(_is_factor, scales)):
        raise ConfigError(f'test_cfg.scales={scales!r}; list at least one positive number, such as [0.5, 1.0, 1.5].')
    if not isinstance(flip, bool):
        raise ConfigError(f'test_cfg.flip={flip!r}; give True or False.')
    if isinstance(multiple, bool) or not isinstance(multiple, Integral) or multiple < 1:
        raise ConfigError(f'test_cfg.size_multiple={multiple!r}; give a positive whole number, such as 32.')
    return looks


def _is_factor(scale: Any) -> bool:
    return isinstance(scale, Real) and not isinstance(scale, bool) and 0 < float(scale) < math.inf


def check_names(test_cfg: Mapping[str, Any] | None, known: Collection[str]) -> None:
    """Refuse settings that nobody reads.

    Raises:
        ConfigError: Naming the first one.
    """
    for name in test_cfg or {}:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            remedy = f"did you mean '{close[0]}'?" if close else f'choose from {", ".join(sorted(known))}.'
            raise ConfigError(f"test_cfg of a segmentor has no '{name}'; {remedy}")


def views_of(images_B3HW: Tensor, looks: Looks) -> Iterator[tuple[Tensor, Sequence[int]]]:
    """Pictures at every size, upright and maybe mirrored.

    Normalised pictures are resized (bilinear, corners not aligned, no antialiasing). That differs from resizing the
    bytes of a file, as mmseg's test-time augmentation does, in the rounding to bytes, and in that the pipeline has
    resized the picture once before. Where the size stays, the pictures do.

    Args:
        images_B3HW: The input.
        looks: See there.

    Yields:
        Pictures (B, 3, h, w), and dimensions along which they are mirrored, counted from the last.
    """
    for scale in looks.scales:
        size = scaled(images_B3HW.shape[-2:], scale, looks.size_multiple)
        images_B3hw = images_B3HW
        if size != tuple(images_B3HW.shape[-2:]):
            images_B3hw = functional.interpolate(images_B3HW, size, mode='bilinear', align_corners=False)
        yield images_B3hw, ()
        if looks.flip:
            yield images_B3hw.flip(MIRRORED), MIRRORED


def scaled(size: Sequence[int], scale: float, multiple: int) -> tuple[int, ...]:
    """Sides times a factor, as the nearest multiples, halves upwards: never 0."""
    return tuple(max(math.floor(side * scale / multiple + 0.5), 1) * multiple for side in size)
