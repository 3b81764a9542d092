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
        class_token: Return each map with the class token of its block, as mmseg's ``VisionTransformer`` does with
            ``output_cls_token=True``.

    Raises:
        ConfigError: If the tower has no pyramid or no class tokens, or one that learns is to be remembered.
    """

    def __init__(
        self,
        tower: dict | ImageTower,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen: bool = True,
        memory_bytes: int = 0,
        class_token: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.tower: ImageTower = MODELS.build(tower) if isinstance(tower, dict) else tower
        self._check_maps(class_token)
        if memory_bytes and not frozen:
            raise ConfigError('TowerBackbone: a tower that learns cannot be remembered. Set memory_bytes=0.')
        self.memory = ContentMemory(memory_bytes)
        self.out_indices = tuple(out_indices)
        self.class_token = class_token
        self.frozen = frozen
        if frozen:
            self.tower.eval().requires_grad_(False)

    def _check_maps(self, class_token: bool) -> None:
        kind, name = type(self.tower), type(self.tower).__name__
        if kind.pyramid is ImageTower.pyramid:
            raise ConfigError(f'{name} has no pyramid of stage maps. Use ImageNetTower, OpenClipTower or TimmTower.')
        if class_token and kind.class_token_pyramid is ImageTower.class_token_pyramid:
            raise ConfigError(f'{name} has no class tokens. Set class_token=False, or use a vision transformer.')

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, ...] | tuple[tuple[Tensor, Tensor], ...]:
        """Normalised pictures to the chosen maps, (B, C_i, H/s_i, W/s_i) each, or to pairs of map and token (B, C_i).

        Raises:
            ConfigError: If ``out_indices`` names a map that the pyramid lacks.
        """
        if self.frozen and self.training:
            flat = self.memory(self._read, images_B3HW)
        else:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                flat = self._read(images_B3HW)
        return tuple(zip(flat[::2], flat[1::2], strict=True)) if self.class_token else flat

    def _read(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """The chosen maps; with class tokens, each map and then its token."""
        if not self.class_token:
            return self._chosen(self.tower.pyramid(images_B3HW))
        return tuple(part for pair in self._chosen(self.tower.class_token_pyramid(images_B3HW)) for part in pair)

    def _chosen(self, maps: tuple[Any, ...]) -> tuple[Any, ...]:
        if not all(-len(maps) <= index < len(maps) for index in self.out_indices):
            raise ConfigError(f'out_indices={self.out_indices} of TowerBackbone: the pyramid has {len(maps)} maps.')
        return tuple(maps[index] for index in self.out_indices)

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; a frozen tower stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.tower.eval()
        return self


@MODELS.register_module()
class TowerTail(BaseModule):
    """The layers of a tower after a map of its pyramid, as a RoI shared head: (N, C, h, w) to (N, D, h, w).

    For `ImageNetTower` these are the head convolution, norm and activation, 320 to 1280 channels. For CLIP's ResNets
    they end with the attention pooling, which leaves one cell.

    Args:
        tower: An `ImageTower` or its config; only its tail is kept.
        stage: Which map of the pyramid regions are read from; -1 is the last, 2 the C4 style.
        frozen: Keep the tail in eval mode and without gradient.
        centered: Also subtract the tower's mean feature of maps. The mean over the cells of the result, at unit
            length, then lies in the shared space, as the average of `embed_dense` before its normalisation.

    Raises:
        ConfigError: If the tower has no tail, or ``centered`` is asked of one without such a mean.
    """

    center_D11: Tensor

    def __init__(
        self,
        tower: dict | ImageTower,
        stage: int = -1,
        frozen: bool = True,
        centered: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        built: Any = MODELS.build(tower) if isinstance(tower, dict) else tower
        self.layers: nn.Module = built.tail(stage)
        self.out_channels: int = built.embed_dim
        if centered and not hasattr(built, 'center_map'):
            raise ConfigError(f'{type(built).__name__} has no mean feature. Set centered=False.')
        center_D = built.center_map.clone() if centered else torch.zeros(built.embed_dim)
        self.register_buffer('center_D11', center_D[:, None, None], persistent=False)
        self.frozen = frozen
        if frozen:
            self.eval().requires_grad_(False)

    def forward(self, roi_NChw: Tensor) -> Tensor:
        """Map a map of the pyramid, or regions of it, to D channels. Gradients reach the input even when frozen."""
        return self.layers(roi_NChw) - self.center_D11

    def train(self, mode: bool = True) -> Any:
        """Switch the mode; a frozen tail stays in eval mode."""
        return super().train(mode and not self.frozen)
