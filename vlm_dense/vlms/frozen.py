"""A teacher that a model may hold without owning it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vlm_dense.registry import MODELS, build_part
from vlm_dense.vlms.mask_pooling import MaskKind
from vlm_dense.vlms.tower import ImageTower


@MODELS.register_module()
class FrozenTower(nn.Module):
    """An image tower in eval mode and without gradient, whatever the model around it does.

    It has no parameters, no buffers and no state dict, so optimisers, checkpoints and distributed wrappers do not see
    it; yet it follows the model's ``to``, ``cuda``, ``half`` and the like.

    Args:
        tower: An `ImageTower` or its config.
    """

    def __init__(self, tower: dict | ImageTower) -> None:
        super().__init__()
        built: ImageTower = build_part(tower)
        # Inside a tuple, a module is not registered as a child.
        self._held = (built.eval().requires_grad_(False),)

    @property
    def tower(self) -> ImageTower:
        """The tower itself."""
        return self._held[0]

    @property
    def embed_dim(self) -> int:
        """Width D of the shared space."""
        return self.tower.embed_dim

    @property
    def mean(self) -> tuple[float, float, float]:
        """Per channel, RGB, on the 0..255 scale."""
        return self.tower.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Per channel, RGB, on the 0..255 scale."""
        return self.tower.std

    @property
    def input_size(self) -> int:
        """Side in pixels of the square pictures that the tower was trained on."""
        return self.tower.input_size

    @property
    def takes_masks(self) -> bool:
        """Whether `embed_images` takes masks after the pictures."""
        return self.tower.takes_masks

    @property
    def fingerprint(self) -> str:
        """Names the tower, its weights and its settings."""
        return self.tower.fingerprint

    def normalize(self, pictures_B3HW: Tensor) -> Tensor:
        """As `ImageTower.normalize`."""
        return self.tower.normalize(pictures_B3HW)

    @torch.no_grad()
    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """As `ImageTower.pyramid`."""
        return self.tower.pyramid(images_B3HW)

    @torch.no_grad()
    def class_token_pyramid(self, images_B3HW: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """As `ImageTower.class_token_pyramid`."""
        return self.tower.class_token_pyramid(images_B3HW)

    @torch.no_grad()
    def embed_images(self, images_B3HW: Tensor, *masks_BHW: Tensor) -> Tensor:
        """As `ImageTower.embed_images`; with masks only where the tower takes them."""
        return self.tower.embed_images(images_B3HW, *masks_BHW)

    @torch.no_grad()
    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        """As `ImageTower.embed_dense`."""
        return self.tower.embed_dense(images_B3HW)

    @torch.no_grad()
    def embed_masks(self, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind = 'hard') -> tuple[Tensor, Tensor]:
        """As `ImageTower.embed_masks`."""
        return self.tower.embed_masks(map_BChw, mask_BNHW, kind)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.tower._apply(fn, recurse)
        return super()._apply(fn, recurse)
