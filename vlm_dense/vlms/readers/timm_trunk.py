"""Reader of timm's convolutional trunks, and of its other models as far as they go."""

from functools import partial
from typing import Any

from torch import Tensor

from vlm_dense.vlms.mask_pooling import MaskKind
from vlm_dense.vlms.positions import Interpolation
from vlm_dense.vlms.readers.reader import Reader, Taps, is_native, pool_rows
from vlm_dense.vlms.readouts import Readout
from vlm_dense.vlms.timm_trunk import reads_cells, stage_numbers, trunk_cells, trunk_maps, trunk_pictures, trunk_rows


class TrunkReader(Reader):
    """open_clip's ``TimmModel``; maps where `stage_numbers` finds stages, cells where `reads_cells` says so."""

    def maps(self, visual: Any, images_B3HW: Tensor, taps: Taps, interpolation: Interpolation) -> tuple[Tensor, ...]:
        """As `Reader.maps`."""
        if stage_numbers(visual.trunk) is None:
            return super().maps(visual, images_B3HW, taps, interpolation)
        return trunk_maps(visual.trunk, images_B3HW)

    def pictures(self, visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
        """As `Reader.pictures`, of any size where the trunk's maps are averaged."""
        if is_native(visual, images_B3HW) or not reads_cells(visual):
            return super().pictures(visual, images_B3HW, interpolation)
        return trunk_pictures(visual, images_B3HW)

    def cells(self, visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation) -> Tensor:
        """As `Reader.cells`."""
        if not reads_cells(visual):
            return super().cells(visual, images_B3HW, readout, interpolation)
        return trunk_cells(visual, images_B3HW)

    def pooled_masks(
        self, visual: Any, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind, taps: Taps, interpolation: Interpolation
    ) -> tuple[Tensor, Tensor]:
        """As `Reader.pooled_masks`."""
        if not reads_cells(visual) or not hasattr(visual.trunk, 'norm_pre'):
            return super().pooled_masks(visual, map_BChw, mask_BNHW, kind, taps, interpolation)
        return pool_rows(partial(trunk_rows, visual), visual.trunk.norm_pre(map_BChw), mask_BNHW, kind)
