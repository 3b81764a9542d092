"""Reader of CLIP's ResNets."""

from typing import Any

from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.clip_resnet import (
    DILATED_STAGES,
    AttentionPooling,
    dilate,
    pool_masked,
    resnet_cells,
    resnet_cells_and_keys,
    resnet_maps,
    resnet_pictures,
)
from vlm_dense.vlms.mask_pooling import MaskKind, mask_weights
from vlm_dense.vlms.positions import Interpolation
from vlm_dense.vlms.readers.reader import Reader, Taps
from vlm_dense.vlms.readouts import Readout


class ResnetReader(Reader):
    """open_clip's ``ModifiedResNet``."""

    strides = tuple(DILATED_STAGES)

    def readouts(self, visual: Any) -> tuple[Readout, ...]:
        """As `Reader.readouts`."""
        return 'value', 'plain'

    def set_stride(self, visual: Any, output_stride: int) -> None:
        """As `Reader.set_stride`."""
        super().set_stride(visual, output_stride)
        dilate(visual, output_stride)

    def maps(self, visual: Any, images_B3HW: Tensor, taps: Taps, interpolation: Interpolation) -> tuple[Tensor, ...]:
        """As `Reader.maps`."""
        return resnet_maps(visual, images_B3HW)

    def pictures(self, visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
        """As `Reader.pictures`, of any size."""
        return resnet_pictures(visual, images_B3HW, interpolation)

    def cells(self, visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation) -> Tensor:
        """As `Reader.cells`."""
        return resnet_cells(visual, images_B3HW, readout, interpolation)

    def cells_and_keys(
        self, visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation
    ) -> tuple[Tensor, Tensor]:
        """As `Reader.cells_and_keys`."""
        return resnet_cells_and_keys(visual, images_B3HW, readout, interpolation)

    def pooled_masks(
        self, visual: Any, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind, taps: Taps, interpolation: Interpolation
    ) -> tuple[Tensor, Tensor]:
        """As `Reader.pooled_masks`, of hard masks."""
        if kind == 'soft':
            raise ConfigError(f"'{self.name}' pools masks with attention: write kind='hard'.")
        weight_BNhw, empty_BN = mask_weights(mask_BNHW, map_BChw, kind)
        return pool_masked(visual.attnpool, map_BChw, weight_BNhw > 0, interpolation), empty_BN

    def layers(self, visual: Any, interpolation: Interpolation) -> tuple[nn.Module, ...]:
        """As `Reader.layers`."""
        pool = AttentionPooling(visual.attnpool, interpolation)
        return visual.layer1, visual.layer2, visual.layer3, visual.layer4, pool
