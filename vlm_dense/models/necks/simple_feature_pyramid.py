"""A pyramid from the one map of a plain vision transformer.

Source: ViTDet (arXiv:2203.16527), Sec. 3 "Simple feature pyramid": only the last map is used, and the levels do not
meet. mmdet has the neck among its projects, which its package does not contain.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS

MODELS.register_module(name='LayerNorm2d', module=LayerNorm2d)
LAYER_NORM = {'type': 'vlm_dense.LayerNorm2d', 'eps': 1e-6}
LEVELS = 4


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """The last map, enlarged by 4 and 2, as it is, and halved; each then smoothed by a 1x1 and a 3x3 convolution.

    At stride 16 the levels have strides 4, 8, 16 and 32; at 14, they have 3.5, 7, 14 and 28.

    Args:
        in_channels: Channels of the last map; at least 4.
        out_channels: Channels of every level.
        num_outs: How many levels: 4, or more; each further one takes every second cell of the one before it.
        norm_cfg: Norm after every convolution, and between the two deconvolutions that enlarge by 4; None leaves it
            out. Published: over the channels of a cell.
        init_cfg: mmengine's initialisation settings.

    Raises:
        ConfigError: If there are fewer than four levels or channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        num_outs: int = 5,
        norm_cfg: dict | None = LAYER_NORM,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if min(num_outs, in_channels) < LEVELS:
            raise ConfigError(
                f'SimpleFeaturePyramid: num_outs={num_outs} and in_channels={in_channels}; give at least 4 of each.'
            )
        self.num_outs = num_outs
        half, quarter = in_channels // 2, in_channels // 4
        between = [] if norm_cfg is None else [build_norm_layer(norm_cfg, half)[1]]
        by_four = nn.Sequential(_doubling(in_channels, half), *between, nn.GELU(), _doubling(half, quarter))
        # Maps with an odd side are rounded up, as mmdet's backbones do.
        halving = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.rescale = nn.ModuleList([by_four, _doubling(in_channels, half), nn.Identity(), halving])
        self.smooth = nn.ModuleList(
            _smoothing(channels, out_channels, norm_cfg) for channels in (quarter, half, in_channels, in_channels)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels (B, ``out_channels``, 4 h, 4 w), (2 h, 2 w), (h, w) and half of that, finest first.

        Args:
            maps: Of the backbone; the last one, (B, C, h, w), is read.
        """
        levels = [smooth(rescale(maps[-1])) for rescale, smooth in zip(self.rescale, self.smooth, strict=True)]
        while len(levels) < self.num_outs:
            levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
        return tuple(levels)


def _doubling(in_channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)


def _smoothing(in_channels: int, out_channels: int, norm_cfg: dict | None) -> nn.Module:
    return nn.Sequential(
        ConvModule(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None),
        ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None),
    )
