"""All score maps of one picture at its original size, never all at once.

Shapes: S rows of text, s of them, H W pixels of the input, H0 W0 of the original picture.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.row_maps import ROWS_TOGETHER, Resize, resize_rows

# Of a chunk: 16 MiB. Much larger ones are slower, because the system clears fresh memory for every one of them.
PIXELS_AT_ONCE = 2**22


class Window(NamedTuple):
    """A part of the input, and what the head says about it.

    Args:
        rows: Of pixels.
        columns: Of pixels.
        maps: For the whole batch: `RowMaps`, or what a segmentor with another decoding made.
    """

    rows: slice
    columns: slice
    maps: Any


class PictureMaps:
    """Iterates over (first row, maps (s, H0, W0)), as often as wanted: windows averaged, flip undone, resized.

    Where the head's background follows from all rows, it comes last, as one more row.

    Args:
        windows: That cover the input.
        picture: Which of the batch.
        size: H and W.
        metainfo: Of the picture: ``ori_shape`` and what is known of a flip.
        resize: As the head resizes.
        rows_at_once: None for as many as `PIXELS_AT_ONCE` allows.

    Raises:
        ConfigError: If ``rows_at_once`` is not positive.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        picture: int,
        size: Sequence[int],
        metainfo: dict,
        resize: Resize,
        rows_at_once: int | None = None,
    ) -> None:
        if rows_at_once is not None and rows_at_once < 1:
            raise ConfigError(f'test_cfg.words_at_once={rows_at_once}; give a positive number, or leave it out.')
        self.windows, self.picture, self.size = windows, picture, tuple(size)
        self.original = tuple(metainfo['ori_shape'][:2])
        self.flips = flips_of(metainfo)
        self.resize = resize
        pixels = max(self.size[0] * self.size[1], self.original[0] * self.original[1])
        chunks = PIXELS_AT_ONCE // (ROWS_TOGETHER * pixels)
        self.rows_at_once = rows_at_once or ROWS_TOGETHER * max(chunks, 1)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        num_rows = self.windows[0].maps.num_rows
        has_background = self.windows[0].maps.has_background
        best: list[Tensor] = []
        for start in range(0, num_rows, self.rows_at_once):
            parts = [self._enlarge(window, slice(start, start + self.rows_at_once)) for window in self.windows]
            if has_background:
                highest = [part_shw.amax(dim=0) for part_shw in parts]
                best = [torch.maximum(*pair) for pair in zip(best, highest, strict=True)] if best else highest
            yield start, self._restore(parts)
        if has_background:
            pairs = zip(self.windows, best, strict=True)
            yield num_rows, self._restore([win.maps.background(self.picture, best_hw)[None] for win, best_hw in pairs])

    def _enlarge(self, window: Window, part: slice) -> Tensor:
        height, width = (len(range(length)[side]) for length, side in zip(self.size, window[:2], strict=True))
        return window.maps.at(self.picture, part, (height, width))

    def _restore(self, parts: Sequence[Tensor]) -> Tensor:
        maps_sHW = parts[0] if len(parts) == 1 else self._mean(parts)
        if self.flips:
            maps_sHW = maps_sHW.flip(self.flips)
        return resize_rows(self.resize, maps_sHW[None], self.original)[0]

    def _mean(self, parts: Sequence[Tensor]) -> Tensor:
        sums_sHW = parts[0].new_zeros(len(parts[0]), *self.size)
        count_HW = parts[0].new_zeros(self.size)
        for (rows, columns, _), part_shw in zip(self.windows, parts, strict=True):
            sums_sHW[:, rows, columns] += part_shw
            count_HW[rows, columns] += 1
        return sums_sHW / count_HW


def flips_of(metainfo: dict) -> list[int]:
    """The dimension, counted from the last, along which a picture was mirrored; none where it was not."""
    if not metainfo.get('flip'):
        return []
    return [-1] if metainfo['flip_direction'] == 'horizontal' else [-2]
