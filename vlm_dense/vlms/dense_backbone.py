"""A tower's dense map as the backbone of a model without a decoder."""

import torch
from torch import Tensor

from vlm_dense.registry import MODELS, build_part
from vlm_dense.vlms.partly_frozen import PartlyFrozen
from vlm_dense.vlms.tower import ImageTower
from vlm_dense.vlms.tuning import tune


@MODELS.register_module()
class DenseBackbone(PartlyFrozen):
    """A backbone over `ImageTower.embed_dense`: cells that are already comparable with words.

    Nothing of the tower learns; what that means for the state dict says `PartlyFrozen`.

    Args:
        tower: An `ImageTower` or its config.
        keys: Also return the keys of the tower's last attention, see `ImageTower.embed_dense_and_keys`.
        in_checkpoint: Hold the tower's weights in the state dict.
        init_cfg: mmengine's initialisation settings.
    """

    part_name = 'tower'

    def __init__(
        self,
        tower: dict | ImageTower,
        keys: bool = False,
        in_checkpoint: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_checkpoint, init_cfg)
        self.tower: ImageTower = build_part(tower)
        self.keys = keys
        tune(self.tower, 'none')
        self._hold(set(self.tower.state_dict()))

    @torch.no_grad()
    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Normalised pictures to (B, D, h, w), unit length along D, and with ``keys`` (B, C, h, w).

        Raises:
            ConfigError: If the tower has no dense map, or no keys.
        """
        if self.keys:
            return self.tower.embed_dense_and_keys(images_B3HW)
        return (self.tower.embed_dense(images_B3HW),)
