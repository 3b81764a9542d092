"""Pixel embeddings from the stage maps of a convolutional backbone.

Source: the fusion decoder of DPT (arXiv:2103.13413), which LSeg (arXiv:2201.03546) also puts on a ResNet-101. Two
options are ours. The anchor: with a frozen image tower whose own map is already comparable with words, the decoder
only corrects that map, so that words without masks keep what the tower knows about them. The gate: objects are
told from background at the decoder's full resolution and without any word.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.ov_decode_head import OVDecodeHead
from vlm_dense.models.decode_heads.pixels import Pixels
from vlm_dense.models.decode_heads.refine_fusion import BATCH_NORM, RefineFusion
from vlm_dense.registry import MODELS

# Standard deviation of the last layer's weights beside an anchor of length 1: training starts at the tower's own map.
ANCHORED_START = 3e-5


@MODELS.register_module()
class PyramidPixelHead(OVDecodeHead):
    """Stage maps -> fusion -> embeddings, optionally added to a frozen tower's own pixel embeddings.

    Args:
        in_channels: Channels of the maps that are fused, finest first.
        embed_dim: Width D of pixel and word embeddings.
        in_index: Which of the backbone's outputs are fused, finest first; None takes all.
        channels: Channels of the fused maps.
        rank: Width of a bottleneck before the embedding, None for none. With an anchor, a small rank limits what
            the base words can teach it.
        bias: Whether the embedding layer adds a bias, as LSeg's does.
        shrink: Factor by which the fused map is averaged down before it is embedded.
        anchor: A module from the backbone's last output to D channels (``vlm_dense.TowerTail``). Its result is
            brought to unit length, resized, and the decoder's output added.
        gate: Add a background gate at the fused map's resolution; the classifier then has no background of its own.
        dropout_ratio: Share of the backbone's channels that a training step hides from the fusion.
        norm_cfg: Normalisation inside the fusion blocks.
        align_corners: For all resizing here.
        kwargs: Arguments of ``OVDecodeHead``.

    Raises:
        ConfigError: If both the gate and the classifier claim the background.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dim: int,
        in_index: Sequence[int] | None = None,
        channels: int = 256,
        rank: int | None = None,
        bias: bool = False,
        shrink: int = 1,
        anchor: dict | None = None,
        gate: bool = False,
        dropout_ratio: float = 0.0,
        norm_cfg: dict | None = BATCH_NORM,
        align_corners: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(align_corners=align_corners, **kwargs)
        if gate and self.classifier.has_background:
            raise ConfigError('PyramidPixelHead: gate=True brings the background; give the classifier background=None.')
        self.in_index = tuple(in_index) if in_index is not None else None
        self.shrink = shrink
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.fusion = RefineFusion(in_channels, channels, norm_cfg, align_corners)
        narrow = [] if rank is None else [nn.Conv2d(channels, rank, 1)]
        widen = nn.Conv2d(rank or channels, embed_dim, 1, bias=bias)
        self.project = nn.Sequential(*narrow, widen)
        self.gate = nn.Conv2d(channels, 1, 1) if gate else None
        self.anchor = MODELS.build(anchor) if anchor else None
        if self.anchor is not None:
            nn.init.normal_(widen.weight, std=ANCHORED_START)

    def embed(self, features: Sequence[Tensor]) -> Pixels:
        """Pixel embeddings at 2 / shrink times the finest fused map's resolution, and the gate at 2 times.

        Args:
            features: The backbone's maps (B, C_i, h_i, w_i), finest first.
        """
        maps = features if self.in_index is None else [features[index] for index in self.in_index]
        fused = self.fusion([self.dropout(map_BChw) for map_BChw in maps])
        gate_B1hw = None if self.gate is None else self.gate(fused)
        dense_BDhw = self.project(functional.avg_pool2d(fused, self.shrink) if self.shrink > 1 else fused)
        if self.anchor is not None:
            anchor_BDhw = functional.normalize(self.anchor(features[-1]), dim=1)
            dense_BDhw = dense_BDhw + self.resize(anchor_BDhw, dense_BDhw.shape[-2:])
        return Pixels(dense_BDhw, gate_B1hw)
