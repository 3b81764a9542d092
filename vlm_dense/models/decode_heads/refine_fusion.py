"""Coarse-to-fine fusion of backbone maps with RefineNet blocks, built from mmseg's parts.

Source: DPT (arXiv:2103.13413), Sec. 3 "Fusion", after RefineNet (arXiv:1611.06612).
"""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.decode_heads.dpt_head import FeatureFusionBlock
from torch import Tensor, nn

from vlm_dense.errors import ConfigError

BATCH_NORM = {'type': 'BN'}


class RefineFusion(BaseModule):
    """One 3x3 convolution and one RefineNet block per map, from the coarsest map to the finest.

    Every block doubles the grid, so maps are expected at strides s, 2s, 4s, ... and the result has stride
    s / 2. A map that is coarser than the running result is enlarged to it.

    Args:
        in_channels: Channels of the maps, finest first.
        channels: Channels of every fused map.
        norm_cfg: Normalisation inside the residual units; None leaves it out.
        align_corners: For the doubling in every block.
        init_cfg: mmengine's initialisation settings.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        norm_cfg: dict | None = BATCH_NORM,
        align_corners: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.convs = nn.ModuleList(
            ConvModule(width, channels, 3, padding=1, bias=False, act_cfg=None) for width in in_channels
        )
        blocks = [
            FeatureFusionBlock(channels, {'type': 'ReLU'}, norm_cfg, align_corners=align_corners) for _ in in_channels
        ]
        # The coarsest map has nothing to be added to.
        blocks[0].res_conv_unit1 = None
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Fuse maps (B, C_i, h_i, w_i), finest first, into (B, channels, 2 h_0, 2 w_0).

        Raises:
            ConfigError: If the number of maps is not the number of ``in_channels``.
        """
        if len(maps) != len(self.convs):
            raise ConfigError(
                f'the decoder was built for {len(self.convs)} maps and the backbone gives {len(maps)}; '
                "make out_indices of the backbone and the decode head's channels agree."
            )
        narrow = [conv(feature) for conv, feature in zip(self.convs, maps, strict=True)]
        fused = self.blocks[0](narrow[-1])
        for block, skip in zip(self.blocks[1:], reversed(narrow[:-1]), strict=True):
            fused = block(fused, skip)
        return fused
