"""A tower's dense map as the backbone of a model without a decoder."""

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from vlm_dense.registry import MODELS
from vlm_dense.vlms.tower import ImageTower


@MODELS.register_module()
class DenseBackbone(BaseModule):
    """A backbone over `ImageTower.embed_dense`: cells that are already comparable with words.

    The tower is frozen and stays in eval mode. Its weights are part of the state dict, under ``tower``.

    Args:
        tower: An `ImageTower` or its config.
        keys: Also return the keys of the tower's last attention, see `ImageTower.embed_dense_and_keys`.
        init_cfg: mmengine's initialisation settings.
    """

    def __init__(self, tower: dict | ImageTower, keys: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.tower: ImageTower = MODELS.build(tower) if isinstance(tower, dict) else tower
        self.keys = keys
        self.tower.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Normalised pictures to (B, D, h, w), unit length along D, and with ``keys`` (B, C, h, w).

        Raises:
            ConfigError: If the tower has no dense map, or no keys.
        """
        if self.keys:
            return self.tower.embed_dense_and_keys(images_B3HW)
        return (self.tower.embed_dense(images_B3HW),)

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; the tower stays in eval mode."""
        super().train(mode)
        self.tower.eval()
        return self
