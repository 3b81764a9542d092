"""Image towers as parts of mmdet's and mmseg's models."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS, build_part
from vlm_dense.vlms.adapters import add_adapters
from vlm_dense.vlms.deep_prompts import add_prompts
from vlm_dense.vlms.memory import ContentMemory
from vlm_dense.vlms.partly_frozen import PartlyFrozen
from vlm_dense.vlms.tower import ImageTower
from vlm_dense.vlms.tuning import parameters_behind
from vlm_dense.vlms.tuning import tune as apply_policy

PROBE_SIDE = 64  # pixels; at least one cell of every tower


@MODELS.register_module()
class TowerBackbone(PartlyFrozen):
    """A backbone over `ImageTower.pyramid`.

    What learns of the tower is part of the state dict, under ``tower``; for the rest see `PartlyFrozen`. Weights that
    lead to none of the chosen maps never learn.

    Args:
        tower: An `ImageTower` or its config.
        out_indices: Which maps of the pyramid to return, finest first.
        tune: What of the tower learns: a policy, or several, of `tune`. What does not is in eval mode.
        prompts: Settings of `add_prompts`, such as ``dict(tokens=10)``; None adds no deep prompts.
        adapters: Settings of `add_adapters`, such as ``dict(rank=4)``; None adds none.
        memory_bytes: How much of what a frozen tower said about training pictures is kept, see `ContentMemory`.
        class_token: Return each map with the class token of its block, as mmseg's ``VisionTransformer`` does with
            ``output_cls_token=True``.
        with_tail: The layers after the last chosen map are read too, by a `BackboneTail`, and learn under the same
            policy.
        in_checkpoint: Hold frozen weights in the state dict too, so that it says everything by itself.

    Attributes:
        frozen: Whether nothing of the tower learns.

    Raises:
        ConfigError: If the tower has no pyramid, no class tokens or not the parts that are to learn, or if one that
            learns is to be remembered.
    """

    part_name = 'tower'

    def __init__(
        self,
        tower: dict | ImageTower,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        tune: str | Sequence[str] = 'none',
        prompts: dict | None = None,
        adapters: dict | None = None,
        memory_bytes: int = 0,
        class_token: bool = False,
        with_tail: bool = False,
        in_checkpoint: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_checkpoint, init_cfg)
        self.tower: ImageTower = build_part(tower)
        self._check_maps(class_token)
        self.out_indices = tuple(out_indices)
        self.class_token = class_token
        self.with_tail = with_tail
        self._tune(tune, prompts, adapters)
        if memory_bytes and not self.frozen:
            raise ConfigError('TowerBackbone: a tower that learns cannot be remembered. Set memory_bytes=0.')
        self.memory = ContentMemory(memory_bytes)

    def _tune(self, policy: str | Sequence[str], prompts: dict | None, adapters: dict | None) -> None:
        given = set(self.tower.state_dict())
        changes = policy != 'none' or prompts is not None or adapters is not None
        read = self._read_parameters() if changes else None
        apply_policy(self.tower, policy, read)
        if adapters is not None:
            add_adapters(self.tower, **adapters, read=read)
        if prompts is not None:
            add_prompts(self.tower, **prompts, read=read)
        self._hold(given)

    def _read_parameters(self) -> set[int]:
        """Ids of the weights that lead to the chosen maps, and with ``with_tail`` from the last one on."""
        self.tower.eval().requires_grad_(True)
        images_B3HW = next(self.tower.parameters()).new_zeros(1, 3, PROBE_SIDE, PROBE_SIDE)
        tail = {id(parameter) for layer in self.tail_layers() for parameter in layer.parameters()}
        with torch.enable_grad():
            return parameters_behind(self._read(images_B3HW)) | tail

    def tail_layers(self) -> list[nn.Module]:
        """The layers after the last chosen map, see `ImageTower.tail`; none without ``with_tail``.

        Raises:
            ConfigError: If the tower has no tail there.
        """
        return list(self.tower.tail(self.out_indices[-1]).children()) if self.with_tail else []

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


@MODELS.register_module()
class TowerTail(PartlyFrozen):
    """The layers of a tower after a map of its pyramid, as a RoI shared head: (N, C, h, w) to (N, D, h, w).

    For `ImageNetTower` these are the head convolution, norm and activation, 320 to 1280 channels. For CLIP's ResNets
    they end with the attention pooling, which leaves one cell.

    Args:
        tower: An `ImageTower` or its config; only its tail is kept.
        stage: Which map of the pyramid regions are read from; -1 is the last, 2 the C4 style.
        tune: What of the tail learns: a policy, or several, of `tune`, which the whole tower defines. Gradients reach
            the input whatever it is.
        centered: Also subtract the tower's mean feature of maps. The mean over the cells of the result, at unit
            length, then lies in the shared space, as the average of `embed_dense` before its normalisation.
        in_checkpoint: Hold frozen weights in the state dict too.

    Attributes:
        frozen: Whether nothing of the tail learns.

    Raises:
        ConfigError: If the tower has no tail or not the parts that are to learn, or ``centered`` is asked of one
            without such a mean.
    """

    part_name = 'layers'
    center_D11: Tensor

    def __init__(
        self,
        tower: dict | ImageTower,
        stage: int = -1,
        tune: str | Sequence[str] = 'none',
        centered: bool = False,
        in_checkpoint: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_checkpoint, init_cfg)
        built: Any = build_part(tower)
        self.layers: nn.Module = built.tail(stage)
        self.out_channels: int = built.embed_dim
        if centered and not hasattr(built, 'center_map'):
            raise ConfigError(f'{type(built).__name__} has no mean feature. Set centered=False.')
        center_D = built.center_map.clone() if centered else torch.zeros(built.embed_dim)
        self.register_buffer('center_D11', center_D[:, None, None], persistent=False)
        given = set(self.layers.state_dict())
        apply_policy(built, tune, {id(parameter) for parameter in self.layers.parameters()})
        self._hold(given)

    def forward(self, roi_NChw: Tensor) -> Tensor:
        """Map a map of the pyramid, or regions of it, to D channels. Gradients reach the input even when frozen."""
        return self.layers(roi_NChw) - self.center_D11
