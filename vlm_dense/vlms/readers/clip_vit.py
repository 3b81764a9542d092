"""Reader of open_clip's plain vision transformers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.clip_vit import (
    asks_once,
    mixed_cells,
    tapped_tokens,
    transformer_cells,
    transformer_cells_and_keys,
    transformer_pictures,
    transformer_rows,
)
from vlm_dense.vlms.mask_pooling import MaskKind
from vlm_dense.vlms.positions import Interpolation
from vlm_dense.vlms.readers.reader import OWNER, Taps, is_native, pool_rows
from vlm_dense.vlms.readers.tokens import TokenReader
from vlm_dense.vlms.readouts import Readout
from vlm_dense.vlms.taps import Tapped


class TransformerReader(TokenReader):
    """open_clip's ``VisionTransformer``; cells where it pools without attention.

    Keys, values and read-outs but 'plain' need torch's attention in its last block.
    """

    def readouts(self, visual: Any) -> tuple[Readout, ...]:
        """As `Reader.readouts`."""
        return 'plain', 'value', 'qq+kk', 'qq'

    def checked_readout(self, visual: Any, readout: Readout | None) -> Readout:
        """As `Reader.checked_readout`."""
        checked = super().checked_readout(visual, readout)
        if checked != 'plain' and not _is_torchs(visual):
            raise ConfigError(
                f"readout='{readout}' of {OWNER}: '{self.name}' has blocks with other attention. Use readout='plain'."
            )
        return checked

    def blocks(self, visual: Any) -> Any:
        """As `Reader.blocks`."""
        return visual.transformer.resblocks

    def prefix_tokens(self, visual: Any) -> int:
        """As `Reader.prefix_tokens`."""
        return 1

    def tokens(self, visual: Any, images_B3HW: Tensor, taps: Sequence[int], interpolation: Interpolation) -> Tapped:
        """As `TokenReader.tokens`."""
        return tapped_tokens(visual, images_B3HW, taps, interpolation)

    def pictures(self, visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
        """As `Reader.pictures`, of any size."""
        if is_native(visual, images_B3HW) and not asks_once(visual):
            return visual(images_B3HW)
        return transformer_pictures(visual, images_B3HW, interpolation)

    def cells(self, visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation) -> Tensor:
        """As `Reader.cells`."""
        if visual.attn_pool is not None:
            return super().cells(visual, images_B3HW, readout, interpolation)
        return transformer_cells(visual, images_B3HW, readout, interpolation)

    def cells_and_keys(
        self, visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation
    ) -> tuple[Tensor, Tensor]:
        """As `Reader.cells_and_keys`."""
        if visual.attn_pool is not None or not _is_torchs(visual):
            return super().cells_and_keys(visual, images_B3HW, readout, interpolation)
        return transformer_cells_and_keys(visual, images_B3HW, readout, interpolation)

    def mixed_cells(
        self, visual: Any, images_B3HW: Tensor, mix_BLL: Tensor, grid: tuple[int, int], interpolation: Interpolation
    ) -> Tensor:
        """As `Reader.mixed_cells`."""
        if visual.attn_pool is not None or not _is_torchs(visual):
            return super().mixed_cells(visual, images_B3HW, mix_BLL, grid, interpolation)
        return mixed_cells(visual, images_B3HW, mix_BLL, grid, interpolation)

    def pooled_masks(
        self, visual: Any, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind, taps: Taps, interpolation: Interpolation
    ) -> tuple[Tensor, Tensor]:
        """As `Reader.pooled_masks`."""
        if visual.attn_pool is not None:
            return super().pooled_masks(visual, map_BChw, mask_BNHW, kind, taps, interpolation)
        self._check_last_tap(visual, taps)
        return pool_rows(partial(transformer_rows, visual), map_BChw, mask_BNHW, kind)


def _is_torchs(visual: Any) -> bool:
    return isinstance(visual.transformer.resblocks[-1].attn, nn.MultiheadAttention)
