"""The last layers of the backbone's own tower, for regions."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.backbone import TowerBackbone
from vlm_dense.vlms.clip_resnet import AttentionPooling


@MODELS.register_module()
class BackboneTail(BaseModule):
    """A RoI shared head without weights of its own: regions go on through the tower that the backbone holds.

    RegionCLIP (arXiv:2112.09106), Sec. 3.1, reads regions of CLIP's ResNets after the third stage (C4); they share the
    fourth stage and the attention pooling with whole pictures. Every weight is in the model once, under the backbone,
    and learns as the backbone's policy says (`TowerBackbone` with ``with_tail=True``).
    """

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        # Inside tuples, modules are not registered as children.
        self._held: tuple[nn.Module, ...] = ()

    def take(self, backbone: nn.Module) -> None:
        """Read regions of the last map of a backbone.

        Raises:
            ConfigError: If it is no `TowerBackbone` with its tail, or its tower has no tail there.
        """
        if not isinstance(backbone, TowerBackbone) or not backbone.with_tail:
            raise ConfigError('BackboneTail: the backbone offers no tail; take a TowerBackbone with with_tail=True.')
        self._held = tuple(backbone.tail_layers())

    def forward(self, roi_NChw: Tensor) -> Tensor:
        """Regions of the backbone's last map through the layers after it, but for a pooling by attention."""
        for layer in self._layers():
            if not isinstance(layer, AttentionPooling):
                roi_NChw = layer(roi_NChw)
        return roi_NChw

    def pool(self, map_NChw: Tensor) -> Tensor:
        """What `forward` gave, in the shared space: (N, D, 1, 1) where the tower pools by attention."""
        last = self._layers()[-1]
        return last(map_NChw) if isinstance(last, AttentionPooling) else map_NChw

    def _layers(self) -> tuple[nn.Module, ...]:
        if not self._held:
            raise ConfigError('BackboneTail: no backbone was given; use it as the shared_head of OVTwoStageDetector.')
        return self._held
