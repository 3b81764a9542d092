"""Reader of timm's vision transformers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from vlm_dense.vlms.mask_pooling import MaskKind
from vlm_dense.vlms.positions import Interpolation
from vlm_dense.vlms.readers.reader import Taps, is_native, pool_rows
from vlm_dense.vlms.readers.tokens import TokenReader
from vlm_dense.vlms.readouts import Readout
from vlm_dense.vlms.taps import Tapped
from vlm_dense.vlms.timm_vit import pools_tokens, tapped_tokens, vit_cells, vit_pictures, vit_rows


class TimmVitReader(TokenReader):
    """open_clip's ``TimmModel`` over a trunk that `is_timm_vit` accepts; cells where the trunk `pools_tokens`."""

    def readouts(self, visual: Any) -> tuple[Readout, ...]:
        """As `Reader.readouts`: one, that of the head."""
        return ('value',) if visual.trunk.global_pool == 'map' else ('plain',)

    def blocks(self, visual: Any) -> Any:
        """As `Reader.blocks`."""
        return visual.trunk.blocks

    def prefix_tokens(self, visual: Any) -> int:
        """As `Reader.prefix_tokens`."""
        return visual.trunk.num_prefix_tokens

    def has_class_token(self, visual: Any) -> bool:
        """As `TokenReader.has_class_token`."""
        return visual.trunk.cls_token is not None

    def tokens(self, visual: Any, images_B3HW: Tensor, taps: Sequence[int], interpolation: Interpolation) -> Tapped:
        """As `TokenReader.tokens`."""
        return tapped_tokens(visual.trunk, images_B3HW, taps, interpolation)

    def pictures(self, visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
        """As `Reader.pictures`, of any size."""
        if is_native(visual, images_B3HW):
            return visual(images_B3HW)
        return vit_pictures(visual, images_B3HW, interpolation)

    def cells(self, visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation) -> Tensor:
        """As `Reader.cells`."""
        if not pools_tokens(visual.trunk):
            return super().cells(visual, images_B3HW, readout, interpolation)
        return vit_cells(visual, images_B3HW, interpolation)

    def pooled_masks(
        self, visual: Any, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind, taps: Taps, interpolation: Interpolation
    ) -> tuple[Tensor, Tensor]:
        """As `Reader.pooled_masks`."""
        if not pools_tokens(visual.trunk):
            return super().pooled_masks(visual, map_BChw, mask_BNHW, kind, taps, interpolation)
        self._check_last_tap(visual, taps)
        return pool_rows(partial(vit_rows, visual), map_BChw, mask_BNHW, kind)
