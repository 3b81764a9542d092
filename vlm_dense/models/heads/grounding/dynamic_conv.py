"""One block of the dynamic head: every level of a pyramid reads itself and its neighbours.

Shapes: B pictures, C channels, h x w cells of a level, S sources that a level reads.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.models.layers import ModulatedDeformConv2d

NORM_GROUPS = 16
TAPS = 9  # of a 3 x 3 kernel
FINER, SAME, COARSER = 2, 1, 0  # which convolution reads which level


class DynamicConv(nn.Module):
    """Scale-, space- and task-aware attention over a pyramid (DyHead, arXiv:2106.08322), with the keys of mmdet's GLIP.

    The offsets and the mask are computed once per level and also used to read its neighbours, as in the released
    weights: where the neighbour is smaller, its convolution reads the flat beginning of a field that is larger than its
    output. ``ModulatedDeformConv2d`` has to read it that way.

    Args:
        in_channels: C of the maps that come in.
        channels: C of the maps that go out.
        dynamic: Deformable convolutions, attention over the sources and the dynamic ReLU; else plain ones. They need
            ``in_channels`` == ``channels``.
    """

    def __init__(self, in_channels: int, channels: int, dynamic: bool = True) -> None:
        super().__init__()
        self.dyconvs = nn.ModuleList(_NormedConv(in_channels, channels, stride, dynamic) for stride in (1, 1, 2))
        self.attnconv = self.offset = None
        self.relu: nn.Module = nn.ReLU()
        if dynamic:
            self.attnconv = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 1, 1), nn.ReLU())
            self.offset = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
            self.relu = _DynamicReLU(channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, C, h, w) of the same sizes, finest first."""
        return [self.relu(self._mean(self._sources(maps, level))) for level in range(len(maps))]

    def _sources(self, maps: Sequence[Tensor], level: int) -> list[Tensor]:
        here = maps[level]
        where = self._where(here)
        sources = [self.dyconvs[SAME](here, *where)]
        if level > 0:
            sources.append(self.dyconvs[FINER](maps[level - 1], *where))
        if level < len(maps) - 1:
            coarse = self.dyconvs[COARSER](maps[level + 1], *where)
            sources.append(F.interpolate(coarse, here.shape[2:], mode='bilinear', align_corners=True))
        return sources

    def _where(self, here: Tensor) -> tuple[Tensor, ...]:
        if self.offset is None:
            return ()
        offset, mask = self.offset(here).split([2 * TAPS, TAPS], dim=1)
        return offset, mask.sigmoid()

    def _mean(self, sources: list[Tensor]) -> Tensor:
        if self.attnconv is None:
            return sum(sources[1:], sources[0]) / len(sources)
        weights_B111 = [F.hardsigmoid(self.attnconv(source)) / len(sources) for source in sources]
        mean = sources[0] * weights_B111[0]
        for source, weight_B111 in zip(sources[1:], weights_B111[1:], strict=True):
            mean = torch.addcmul(mean, source, weight_B111)
        return mean


class _NormedConv(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int, deformable: bool) -> None:
        super().__init__()
        conv = ModulatedDeformConv2d if deformable else nn.Conv2d
        self.conv = conv(in_channels, channels, 3, stride=stride, padding=1)
        self.bn = nn.GroupNorm(NORM_GROUPS, channels)

    def forward(self, maps: Tensor, *where: Tensor) -> Tensor:
        return self.bn(self.conv(maps, *where))


class _DynamicReLU(nn.Module):
    """The larger of two lines per channel that depend on the map's mean (DyReLU, arXiv:2003.10027)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = channels // reduction
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 4 * channels), nn.Hardsigmoid()
        )

    def forward(self, maps: Tensor) -> Tensor:
        parts_B4C = self.fc(maps.mean((2, 3))) - 0.5
        slope_1, offset_1, slope_2, offset_2 = parts_B4C[..., None, None].chunk(4, dim=1)
        return torch.maximum(torch.addcmul(offset_1, maps, 2 * slope_1 + 1), torch.addcmul(offset_2, maps, 2 * slope_2))
