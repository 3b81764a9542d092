"""What a pixel head says about every row of text, enlarged for a few rows at a time.

All rows on the head's own grid are small; all of them at the size of a picture are not.

Shapes: B pictures, S rows of text, s of them, h w cells, H W pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Resize = Callable[[Tensor, Sequence[int]], Tensor]
ROWS_TOGETHER = 8


def resize_rows(resize: Resize, maps_1shw: Tensor, size: Sequence[int]) -> Tensor:
    """Resize s maps so that each comes out the same, bit by bit, however many go together.

    The number of maps decides which of torch's kernels runs on a CPU, and kernels round differently. So maps are
    resized in multiples of `ROWS_TOGETHER`, the last ones together with empty ones.

    Args:
        resize: From maps and a size to maps of this size.
        maps_1shw: Of one picture.
        size: H and W.

    Returns:
        (1, s, H, W), the very tensor where the size already fits.
    """
    if tuple(maps_1shw.shape[-2:]) == tuple(size):
        return maps_1shw
    rows = maps_1shw.shape[1]
    missing = -rows % ROWS_TOGETHER
    if missing:
        maps_1shw = functional.pad(maps_1shw, (0, 0, 0, 0, 0, missing))
    return resize(maps_1shw, size)[:, :rows]


class RowMaps(ABC):
    """Logits of S rows for B pictures.

    Args:
        num_rows: S.
        has_background: Whether `background` follows the rows.
        device: Where they are.
    """

    def __init__(self, num_rows: int, has_background: bool, device: torch.device) -> None:
        self.num_rows, self.has_background, self.device = num_rows, has_background, device

    @abstractmethod
    def at(self, picture: int, part: slice, size: Sequence[int]) -> Tensor:
        """Logits (s, H, W) of the rows ``part`` for one picture of the batch.

        Args:
            picture: Of the batch.
            part: First row and the one after the last.
            size: H and W.
        """

    @abstractmethod
    def background(self, picture: int, best_HW: Tensor) -> Tensor:
        """The background's logits (H, W), where they are no row of text.

        Args:
            picture: Of the batch.
            best_HW: Highest logit of any row.
        """


class GridMaps(RowMaps):
    """Logits on a coarse grid, and how they grow.

    Args:
        logits_BShw: On the head's grid.
        resize: Enlarges maps (1, s, h, w) to a size.
        through: Heights and widths that maps pass on their way to any other size.
        gate_B1hw: Log-odds of background against all rows together, in a head that judges it without words.
    """

    def __init__(
        self,
        logits_BShw: Tensor,
        resize: Resize,
        through: Sequence[Sequence[int]] = (),
        gate_B1hw: Tensor | None = None,
    ) -> None:
        super().__init__(logits_BShw.shape[1], gate_B1hw is not None, logits_BShw.device)
        self.logits_BShw = logits_BShw.contiguous()  # The layout, too, would choose the kernel.
        self.resize = resize
        self.through = through
        self.gate_B1hw = gate_B1hw

    def at(self, picture: int, part: slice, size: Sequence[int]) -> Tensor:
        """As in `RowMaps`."""
        maps_1shw = self.logits_BShw[picture : picture + 1, part]
        for between in self.through:
            maps_1shw = resize_rows(self.resize, maps_1shw, between)
        return resize_rows(self.resize, maps_1shw, size)[0]

    def background(self, picture: int, best_HW: Tensor) -> Tensor:
        """Logits (H, W) above the best row exactly where the gate is above 0.

        Background is thus judged without the words.

        Args:
            picture: Of the batch.
            best_HW: Highest logit of any row.
        """
        assert self.gate_B1hw is not None
        return self.resize(self.gate_B1hw[picture : picture + 1], best_HW.shape)[0, 0] + best_HW


class BestRow:
    """The highest of many maps at every pixel, given a few at a time; of equal ones the first, as in ``argmax``."""

    def __init__(self) -> None:
        self.score_HW: Tensor | None = None
        self.row_HW: Tensor | None = None

    def add(self, start: int, maps_sHW: Tensor) -> None:
        """Look at the maps ``start``, ``start`` + 1, ...; starts grow from call to call."""
        score_HW, row_HW = maps_sHW.max(dim=0)
        row_HW += start
        if self.score_HW is None or self.row_HW is None:
            self.score_HW, self.row_HW = score_HW, row_HW
            return
        is_better_HW = score_HW > self.score_HW
        self.score_HW = torch.where(is_better_HW, score_HW, self.score_HW)
        self.row_HW = torch.where(is_better_HW, row_HW, self.row_HW)
