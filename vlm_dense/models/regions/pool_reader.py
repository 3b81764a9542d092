"""Masks over the last map of a tower."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models.regions.region_reader import CLIP_LOGIT_SCALE, RegionReader, RegionRows
from vlm_dense.registry import MODELS
from vlm_dense.vlms import FrozenTower, ImageTower, TowerBackbone
from vlm_dense.vlms.mask_pooling import MaskKind, resize_masks
from vlm_dense.vlms.taps import PYRAMID_MAPS

Empty = Literal['picture', 'zeros']
EMPTIES: tuple[str, ...] = ('picture', 'zeros')


@MODELS.register_module()
class PoolReader(RegionReader):
    """The mean of a map inside each mask, through the rest of the tower: `ImageTower.embed_masks`.

    FC-CLIP (arXiv:2308.02487) reads 'hard' masks of its backbone's last map, which the model has made anyway. Masks are
    resized to the cells of the map bilinearly, as logits.

    Args:
        kind: 'hard' or 'soft', as in `ImageTower.embed_masks`.
        tower: A tower beside the model, or its config, which sees every picture whole, once; frozen, and in no
            checkpoint. None: the backbone is a `TowerBackbone` whose last map is its tower's last.
        logit_scale: Multiplies the cosines of rows and words.
        empty: What masks without any cell read: the whole 'picture', or a cell of 'zeros', which is all that there is
            to average in FC-CLIP's release; with ConvNeXt it counts there.

    Raises:
        ConfigError: If ``logit_scale`` is not above 0, or ``empty`` is neither of its two values.
    """

    def __init__(
        self,
        kind: MaskKind = 'hard',
        tower: dict | ImageTower | None = None,
        logit_scale: float = CLIP_LOGIT_SCALE,
        empty: Empty = 'picture',
    ) -> None:
        super().__init__(logit_scale)
        if empty not in EMPTIES:
            raise ConfigError(f'empty={empty!r} of PoolReader: write one of {", ".join(EMPTIES)}.')
        self.kind = kind
        self.empty = empty
        self.tower = None if tower is None else FrozenTower(tower)

    def forward(
        self,
        pictures_B3HW: Tensor,
        backbone: Any,
        features: Sequence[Any],
        mask_BNhw: Tensor,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> RegionRows:
        """Read every mask. Arguments as in `RegionReader`.

        Raises:
            ConfigError: If the reader has no tower and the backbone is none or does not give its last map, or the tower
                cannot read such masks.
            DataError: If maps and masks differ in number.
        """
        tower, map_BChw = self._map(pictures_B3HW, backbone, features)
        cells_BNhw = resize_masks(mask_BNhw, map_BChw.shape[2:])
        if image_sizes is not None:
            cells_BNhw = _without_padding(cells_BNhw, pictures_B3HW.shape[2:], image_sizes)
        region_BND, empty_BN = tower.embed_masks(map_BChw, cells_BNhw, self.kind)
        if self.empty == 'zeros' and empty_BN.any():
            cell_1C11 = map_BChw.new_zeros(1, map_BChw.shape[1], 1, 1)
            zeros_11D, _ = tower.embed_masks(cell_1C11, cells_BNhw.new_ones(1, 1, 1, 1), self.kind)
            region_BND = torch.where(empty_BN[..., None], zeros_11D, region_BND)
        return RegionRows(region_BND, empty_BN)

    def _map(self, pictures_B3HW: Tensor, backbone: Any, features: Sequence[Any]) -> tuple[Any, Tensor]:
        """The tower and its last map, (B, C, h, w)."""
        if self.tower is not None:
            return self.tower, self.tower.pyramid(self.tower.normalize(pictures_B3HW))[-1]
        if not isinstance(backbone, TowerBackbone):
            raise ConfigError(
                f'PoolReader: {type(backbone).__name__} gives no map of a tower; take a vlm_dense.TowerBackbone, '
                'or give the reader a tower of its own.'
            )
        _check_last(backbone)
        last = features[-1]
        return backbone.tower, last if isinstance(last, Tensor) else last[0]


def _check_last(backbone: TowerBackbone) -> None:
    """Refuse another map than the last of a transformer's: they are alike in shape, so that nothing else would."""
    if backbone.tower.blocks is None:
        return
    last = len(getattr(backbone.tower, 'taps', None) or range(PYRAMID_MAPS)) - 1
    if backbone.out_indices[-1] not in (-1, last):
        raise ConfigError(
            f'PoolReader reads the last map of the tower; end out_indices={backbone.out_indices} of the backbone '
            f'with {last}.'
        )


def _without_padding(cells_BNhw: Tensor, size: Sequence[int], image_sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Logits that are minus infinity in cells that begin beyond the picture."""
    rows_h, columns_w = (
        torch.arange(cells, device=cells_BNhw.device) * (side / cells)
        for cells, side in zip(cells_BNhw.shape[2:], size, strict=True)
    )
    beyond_Bhw = torch.stack([(rows_h >= height)[:, None] | (columns_w >= width) for height, width in image_sizes])
    return cells_BNhw.masked_fill(beyond_Bhw[:, None], -torch.inf)
