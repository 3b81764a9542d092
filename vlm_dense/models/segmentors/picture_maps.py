"""All score maps of one picture at its original size, never all at once.

Shapes: S rows of text, s of them, H W pixels of a view, H0 W0 of the original picture.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.row_maps import ROWS_TOGETHER, Resize, resize_rows

# Of a chunk: 16 MiB. Much larger ones are slower, because the system clears fresh memory for every one of them. On a
# GPU few large ones are faster: 64 MiB.
PIXELS_AT_ONCE, GPU_PIXELS_AT_ONCE = 2**22, 2**24
FLIPPED = {'horizontal': [-1], 'vertical': [-2], 'diagonal': [-2, -1]}  # mmdet's and mmcv's names


class Window(NamedTuple):
    """A part of a view, and what the head says about it.

    Args:
        rows: Of pixels.
        columns: Of pixels.
        maps: For the whole batch: `RowMaps`, or what a segmentor with another decoding made.
    """

    rows: slice
    columns: slice
    maps: Any


class View(NamedTuple):
    """Pictures at one size, maybe mirrored, and all that the head says about them.

    Args:
        size: H and W.
        flips: Dimensions along which the input was mirrored for it, counted from the last.
        windows: That cover it.
    """

    size: Sequence[int]
    flips: Sequence[int]
    windows: Sequence[Window]


class PictureMaps:
    """Iterates over (first row, maps (s, H0, W0)), as often as wanted.

    In every view windows are averaged, flips undone, maps resized; then views are averaged. Where the head's background
    follows from all rows, it comes last, as one more row.

    Args:
        views: At least one.
        picture: Which of the batch.
        metainfo: Of the picture: ``ori_shape`` and what is known of a flip.
        resize: As the head resizes.
        rows_at_once: None for as many as `PIXELS_AT_ONCE`, or its like for GPUs, allows.

    Raises:
        ConfigError: If ``rows_at_once`` is not positive.
    """

    def __init__(
        self, views: Sequence[View], picture: int, metainfo: dict, resize: Resize, rows_at_once: int | None = None
    ) -> None:
        if rows_at_once is not None and rows_at_once < 1:
            raise ConfigError(f'test_cfg.words_at_once={rows_at_once}; give a positive number, or leave it out.')
        self.views, self.picture, self.metainfo, self.resize = views, picture, metainfo, resize
        height, width = metainfo['ori_shape'][:2]
        pixels = max([height * width] + [view.size[0] * view.size[1] for view in views])
        on_gpu = views[0].windows[0].maps.device.type != 'cpu'
        chunks = (GPU_PIXELS_AT_ONCE if on_gpu else PIXELS_AT_ONCE) // (ROWS_TOGETHER * pixels)
        self.rows_at_once = rows_at_once or ROWS_TOGETHER * max(chunks, 1)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        maps = self.views[0].windows[0].maps
        views = [_ViewMaps(view, self.picture, self.metainfo, self.resize) for view in self.views]
        for start in range(0, maps.num_rows, self.rows_at_once):
            part = slice(start, start + self.rows_at_once)
            yield start, _mean(view.rows(part) for view in views)
        if maps.has_background:
            yield maps.num_rows, _mean(view.background() for view in views)


class _ViewMaps:
    """What one view says about one picture, at the size of the original.

    Args:
        view: All of it.
        picture: As in `PictureMaps`, as are the next two.
        metainfo: There.
        resize: There.
    """

    def __init__(self, view: View, picture: int, metainfo: dict, resize: Resize) -> None:
        self.size, self.windows = tuple(view.size), view.windows
        self.flips = flips_between(view, metainfo)
        self.picture, self.original, self.resize = picture, tuple(metainfo['ori_shape'][:2]), resize
        self.best: list[Tensor] = []

    def rows(self, part: slice) -> Tensor:
        """Maps (s, H0, W0) of some rows."""
        parts = [self._enlarge(window, part) for window in self.windows]
        if self.windows[0].maps.has_background:
            highest = [part_shw.amax(dim=0) for part_shw in parts]
            self.best = [torch.maximum(*pair) for pair in zip(self.best or highest, highest, strict=True)]
        return self._restore(parts)

    def background(self) -> Tensor:
        """Its map (1, H0, W0), after all rows were asked for."""
        pairs = zip(self.windows, self.best, strict=True)
        return self._restore([win.maps.background(self.picture, best_hw)[None] for win, best_hw in pairs])

    def _enlarge(self, window: Window, part: slice) -> Tensor:
        height, width = (len(range(length)[side]) for length, side in zip(self.size, window[:2], strict=True))
        return window.maps.at(self.picture, part, (height, width))

    def _restore(self, parts: Sequence[Tensor]) -> Tensor:
        maps_sHW = parts[0] if len(parts) == 1 else self._windows_mean(parts)
        if self.flips:
            maps_sHW = maps_sHW.flip(self.flips)
        return resize_rows(self.resize, maps_sHW[None], self.original)[0]

    def _windows_mean(self, parts: Sequence[Tensor]) -> Tensor:
        sums_sHW = parts[0].new_zeros(len(parts[0]), *self.size)
        count_HW = parts[0].new_zeros(self.size)
        for (rows, columns, _), part_shw in zip(self.windows, parts, strict=True):
            sums_sHW[:, rows, columns] += part_shw
            count_HW[rows, columns] += 1
        return sums_sHW / count_HW


def _mean(maps: Iterable[Tensor]) -> Tensor:
    """Of maps (s, H0, W0) that come one after the other."""
    walk = iter(maps)
    sum_sHW, number = next(walk), 1
    for maps_sHW in walk:
        sum_sHW, number = sum_sHW + maps_sHW, number + 1
    return sum_sHW if number == 1 else sum_sHW / number


def flips_between(view: View, metainfo: dict) -> list[int]:
    """Dimensions, counted from the last, along which a view of a picture is mirrored against the original.

    Args:
        view: Of the input.
        metainfo: Of the picture, whose input may be mirrored itself.
    """
    return sorted(set(flips_of(metainfo)) ^ set(view.flips))


def flips_of(metainfo: dict) -> list[int]:
    """Dimensions, counted from the last, along which a picture was mirrored; none where it was not."""
    return FLIPPED[metainfo['flip_direction']] if metainfo.get('flip') else []
