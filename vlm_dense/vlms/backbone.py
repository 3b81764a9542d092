"""Image towers as parts of mmdet's and mmseg's models."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.memory import ContentMemory
from vlm_dense.vlms.tower import ImageTower


@MODELS.register_module()
class TowerBackbone(BaseModule):
    """A backbone over `ImageTower.pyramid`. The tower's weights are part of the state dict, under ``tower``.

    Args:
        tower: An `ImageTower` or its config.
        out_indices: Which maps of the pyramid to return, finest first.
        frozen: Keep the tower in eval mode and without gradient.
        memory_bytes: How much of what a frozen tower said about training pictures is kept, see `ContentMemory`.
        output_cls_token: Give every map of a transformer with the picture's own token, as mmseg's
            ``VisionTransformer(output_cls_token=True)``.

    Raises:
        ConfigError: If the tower has no pyramid or, where they are asked for, no tokens; or if one that learns is to be
            remembered.
    """

    def __init__(
        self,
        tower: dict | ImageTower,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen: bool = True,
        memory_bytes: int = 0,
        output_cls_token: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.tower: ImageTower = MODELS.build(tower) if isinstance(tower, dict) else tower
        if type(self.tower).pyramid is ImageTower.pyramid:
            raise ConfigError(
                f'{type(self.tower).__name__} has no pyramid of stage maps. Use ImageNetTower or OpenClipTower.'
            )
        if output_cls_token and type(self.tower).tokens is ImageTower.tokens:
            raise ConfigError(f'{type(self.tower).__name__} has no tokens. Set output_cls_token=False.')
        self.output_cls_token = output_cls_token
        if memory_bytes and not frozen:
            raise ConfigError('TowerBackbone: a tower that learns cannot be remembered. Set memory_bytes=0.')
        self.memory = ContentMemory(memory_bytes)
        self.out_indices = tuple(out_indices)
        self.frozen = frozen
        if frozen:
            self.tower.eval().requires_grad_(False)

    def forward(self, images_B3HW: Tensor) -> tuple:
        """Normalised pictures to the chosen maps, (B, C_i, H/s_i, W/s_i) each, or to pairs with tokens (B, C_i).

        Raises:
            ConfigError: If ``out_indices`` names a map that the pyramid lacks.
        """
        if self.frozen and self.training:
            parts = self.memory(self._parts, images_B3HW)
        else:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                parts = self._parts(images_B3HW)
        return tuple(zip(parts[::2], parts[1::2], strict=True)) if self.output_cls_token else parts

    def _parts(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """The chosen maps; with tokens, each map is followed by its token."""
        tower = self.tower
        taken = tower.tokens(images_B3HW) if self.output_cls_token else [(m,) for m in tower.pyramid(images_B3HW)]
        if not all(-len(taken) <= index < len(taken) for index in self.out_indices):
            raise ConfigError(f'out_indices={self.out_indices} of TowerBackbone: the pyramid has {len(taken)} maps.')
        return tuple(part for index in self.out_indices for part in taken[index])

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; a frozen tower stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.tower.eval()
        return self


@MODELS.register_module()
class TowerTail(BaseModule):
    """The layers of a tower after its pyramid, as a RoI shared head: (N, C, h, w) to (N, D, h, w).

    For `ImageNetTower` these are the head convolution, norm and activation, 320 to 1280 channels.

    Args:
        tower: An `ImageTower` or its config; only its tail is kept.
        frozen: Keep the tail in eval mode and without gradient.
        centered: Also subtract the tower's mean feature of maps. The mean over the cells of the result, at unit
            length, then lies in the shared space, as the average of `embed_dense` before its normalisation.

    Raises:
        ConfigError: If the tower has no tail, or ``centered`` is asked of one without such a mean.
    """

    center_D11: Tensor

    def __init__(
        self, tower: dict | ImageTower, frozen: bool = True, centered: bool = False, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        built: Any = MODELS.build(tower) if isinstance(tower, dict) else tower
        self.layers: nn.Module = built.tail()
        self.out_channels: int = built.embed_dim
        if centered and not hasattr(built, 'center_map'):
            raise ConfigError(f'{type(built).__name__} has no mean feature. Set centered=False.')
        center_D = built.center_map.clone() if centered else torch.zeros(built.embed_dim)
        self.register_buffer('center_D11', center_D[:, None, None], persistent=False)
        self.frozen = frozen
        if frozen:
            self.eval().requires_grad_(False)

    def forward(self, roi_NChw: Tensor) -> Tensor:
        """Map the last pyramid map, or regions of it, to D channels. Gradients reach the input even when frozen."""
        return self.layers(roi_NChw) - self.center_D11

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; a frozen tail stays in eval mode."""
        return super().train(mode and not self.frozen)
