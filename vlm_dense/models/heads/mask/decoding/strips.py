"""Masks of one picture at its original size, a few rows of pixels at a time.

Everything that happens to score maps after words were weighed (windows averaged, flip undone, resized) is linear, and
words are weighed linearly too. So it happens to the few masks instead of the many words, and a strip of masks is small.

Shapes: N masks of a window, M those of all windows that touch a strip, h w cells, r rows, H W pixels of the input, W0
columns of the original picture.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from vlm_dense.models.heads.mask.decoding.resizing import resize_rows_of, resize_span, row_weights

# Of a strip, for all masks: fits the caches of a core, and is large enough for matrix products to be fast. A GPU has
# room for more, and takes as long to be told what to do with few.
STRIP_PIXELS, GPU_STRIP_PIXELS = 2**13, 2**17


class MaskWindow(NamedTuple):
    """A part of the input, and the masks that were found in it.

    Args:
        rows: Of pixels of the input.
        columns: Of pixels of the input.
        mask_Nhw: Logits, which cover the part and what it was padded with.
        padded: Height and width of what they cover.
    """

    rows: slice
    columns: slice
    mask_Nhw: Tensor
    padded: Sequence[int]


class Frame(NamedTuple):
    """From the input of the model to the picture that is asked about.

    Args:
        size: H and W of the input without padding.
        original: Height and width of the answer.
        flips: Dimensions along which the input is mirrored, counted from the last.
    """

    size: Sequence[int]
    original: Sequence[int]
    flips: Sequence[int] = ()


class Strip(NamedTuple):
    """Some rows of the original picture.

    Args:
        rows: Which.
        masks_M: Places of the masks, counted through all windows.
        values_MrW: Probabilities or logits, windows averaged: 0 where a window does not reach.
    """

    rows: slice
    masks_M: Tensor
    values_MrW: Tensor


class Strips:
    """Iterates over `Strip`, top to bottom, as often as wanted.

    Args:
        windows: That cover the input.
        frame: Of the picture.
        sigmoid: 'input': masks become probabilities at the size of the input, and these are averaged and resized, as
            MaskFormer (arXiv:2107.06278) does it for labels of pixels. 'original': they become so in the end. 'none':
            they stay logits, as in mmdet. The last two take a single window, since averaged logits mean nothing.
    """

    def __init__(self, windows: Sequence[MaskWindow], frame: Frame, sigmoid: str) -> None:
        assert sigmoid == 'input' or len(windows) == 1
        self.windows, self.frame, self.sigmoid = list(windows), frame, sigmoid
        self.counts_HW = torch.zeros(tuple(frame.size), device=windows[0].mask_Nhw.device)
        for window in windows:
            self.counts_HW[window.rows, window.columns] += 1

    def __iter__(self) -> Iterator[Strip]:
        height, width = self.frame.original
        pixels = STRIP_PIXELS if self.counts_HW.device.type == 'cpu' else GPU_STRIP_PIXELS
        step = max(pixels // width, 1)
        for top in range(0, height, step):
            yield self._strip(slice(top, min(top + step, height)))

    @property
    def num_masks(self) -> int:
        """Of all windows."""
        return sum(len(window.mask_Nhw) for window in self.windows)

    def _strip(self, rows: slice) -> Strip:
        frame, like = self.frame, self.windows[0].mask_Nhw
        weights = row_weights(rows, frame.size[0], frame.original[0], like.dtype)
        masks_M, values_MrW = self._input_rows(weights.span)
        values_MrW = resize_span(values_MrW, weights.span.start, weights, frame.original[1])
        return Strip(rows, masks_M, values_MrW.sigmoid() if self.sigmoid == 'original' else values_MrW)

    def _input_rows(self, span: slice) -> tuple[Tensor, Tensor]:
        """Rows of the upright input, of all masks that reach into them."""
        flips = [dim for dim in self.frame.flips if dim in (-1, -2)]
        if -2 in flips:
            height = self.frame.size[0]
            span = slice(height - span.stop, height - span.start)
        places, parts, first = [], [], 0
        for window in self.windows:
            last = first + len(window.mask_Nhw)
            if window.rows.start < span.stop and window.rows.stop > span.start:
                places.append(torch.arange(first, last, device=window.mask_Nhw.device))
                parts.append(self._placed(window, span))
            first = last
        values_MrW = parts[0] if len(parts) == 1 else torch.cat(parts)
        return torch.cat(places), values_MrW.flip(flips) if flips else values_MrW

    def _placed(self, window: MaskWindow, span: slice) -> Tensor:
        top, bottom = max(span.start, window.rows.start), min(span.stop, window.rows.stop)
        inner = slice(top - window.rows.start, bottom - window.rows.start)
        values_Nrw = resize_rows_of(window.mask_Nhw, window.padded, inner)
        values_Nrw = values_Nrw[..., : window.columns.stop - window.columns.start]
        if self.sigmoid == 'input':
            values_Nrw = values_Nrw.sigmoid()
        if len(self.windows) == 1:
            return values_Nrw
        placed_NrW = values_Nrw.new_zeros(len(values_Nrw), span.stop - span.start, self.frame.size[1])
        counts_rw = self.counts_HW[top:bottom, window.columns].to(values_Nrw.dtype)
        placed_NrW[:, top - span.start : bottom - span.start, window.columns] = values_Nrw / counts_rw
        return placed_NrW


class MeanStrips:
    """The same strips of several views of a picture: masks of all views, each view with its share of the whole.

    So scores that are summed over masks are the mean over the views.

    Args:
        views: At least one, all with the same original picture.
    """

    def __init__(self, views: Sequence[Strips]) -> None:
        self.views = list(views)
        self.frame = self.views[0].frame

    def __iter__(self) -> Iterator[Strip]:
        firsts = [0, *accumulate(view.num_masks for view in self.views)]
        for parts in zip(*self.views, strict=True):
            if len(parts) == 1:
                yield parts[0]
                continue
            masks_M = torch.cat([part.masks_M + first for part, first in zip(parts, firsts, strict=False)])
            values_MrW = torch.cat([part.values_MrW for part in parts])
            yield Strip(parts[0].rows, masks_M, values_MrW.div_(len(parts)))
