"""The network of the grounding head: regions renewed by dynamic convolutions and by text, and compared with its tokens.

Shapes: B pictures, N regions (the cells of all levels, finest first), L tokens, C channels, T text width.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import Scale
from torch import Tensor, nn

from vlm_dense.models.fusion import ImageTextFusion, TextLayer
from vlm_dense.models.fusion.clamping import clamped
from vlm_dense.models.grounding import TextTokens
from vlm_dense.models.heads.grounding.dynamic_conv import DynamicConv
from vlm_dense.models.heads.grounding.levels import flatten_levels, split_levels

TEXT_WIDTH = 768  # BERT-base's
PRIOR = 0.01  # score of every token before training


class RegionTokens(NamedTuple):
    """What the network says about every region.

    Args:
        logits_BNL: Of every token.
        delta_BN4: Encoded boxes.
        centerness_BN: Logits.
        region_BNC: What the tower made of the maps.
    """

    logits_BNL: Tensor
    delta_BN4: Tensor
    centerness_BN: Tensor
    region_BNC: Tensor


class RegionTokenNetwork(nn.Module):
    """Deep fusion, dynamic head and token logits of GLIP (arXiv:2112.03857), Sec. 3.1 and 3.2, with mmdet's keys.

    Args:
        in_channels: C of the pyramid's maps.
        channels: C inside.
        num_levels: Levels of the pyramid.
        fuse: Let image and text read each other before every block; else text is met only in the logits.
        num_blocks: Blocks of the tower.
        text: Arguments of `TextLayer`, as in the text tower.
        fusion: Remaining arguments of `ImageTextFusion`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_levels: int,
        fuse: bool,
        num_blocks: int,
        text: dict,
        fusion: dict,
    ) -> None:
        super().__init__()
        text_width = text.get('width', TEXT_WIDTH)
        self.fuse = fuse
        self.dyhead_tower = nn.ModuleList()
        for block in range(num_blocks):
            width = channels if block else in_channels
            if fuse:
                self.dyhead_tower.append(ImageTextFusion(width, text_width, **fusion))
                self.dyhead_tower.append(TextLayer(**text))
            self.dyhead_tower.append(DynamicConv(width, channels, dynamic=width == channels))
        self.bbox_pred = nn.Conv2d(channels, 4, 1)
        self.centerness = nn.Conv2d(channels, 1, 1)
        self.dot_product_projection_text = nn.Linear(text_width, channels)
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.bias_lang = nn.Parameter(torch.zeros(text_width))
        self.bias0 = nn.Parameter(torch.full((1,), -math.log((1 - PRIOR) / PRIOR)))
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(num_levels))

    def forward(self, maps: Sequence[Tensor], text: TextTokens) -> RegionTokens:
        """Logits, boxes and regions of B pictures, each with its own text."""
        return next(self.read_each(maps, [text]))

    def read_each(self, maps: Sequence[Tensor], texts: Iterable[TextTokens]) -> Iterator[RegionTokens]:
        """The same pictures with one text after the other; what no text changes is computed once.

        Args:
            maps: (B, C, h, w) per level, finest first.
            texts: Each of B texts, or of one for all pictures.
        """
        sizes = [level.shape[2:] for level in maps]
        if self.fuse:
            first: Any = self.dyhead_tower[0]
            start_BNC = first.normalise(flatten_levels(maps))
            for text in texts:
                region_BNC, text_BLT = self._fused(start_BNC, sizes, text)
                yield RegionTokens(self._logits(region_BNC, text_BLT), *self._boxes(region_BNC, sizes), region_BNC)
            return
        for convolve in self.dyhead_tower:
            maps = convolve(maps)
        region_BNC = flatten_levels(maps)
        boxes = self._boxes(region_BNC, sizes)
        for text in texts:
            yield RegionTokens(self._logits(region_BNC, text.embedded_BLC), *boxes, region_BNC)

    def _fused(self, image_BNC: Tensor, sizes: list[torch.Size], text: TextTokens) -> tuple[Tensor, Tensor]:
        """Regions (B, N, C) and tokens (B, L, T) after the tower, whose first fusion takes normalised cells."""
        text_BLT = text.hidden_BLC.expand(len(image_BNC), -1, -1)
        is_token_BL = None if bool(text.is_token_BL.all()) else text.is_token_BL
        blocks: list[Any] = list(self.dyhead_tower)
        for start in range(0, len(blocks), 3):
            fuse, read, convolve = blocks[start : start + 3]
            image_BNC = fuse.normalise(image_BNC) if start else image_BNC
            image_BNC, text_BLT = fuse(image_BNC, text_BLT, is_token_BL)
            text_BLT = read(text_BLT, is_token_BL)
            image_BNC = flatten_levels(convolve(split_levels(image_BNC, sizes)))
        return image_BNC, text_BLT

    def _logits(self, region_BNC: Tensor, text_BLT: Tensor) -> Tensor:
        text_BLT = F.normalize(text_BLT, dim=-1)
        # Half the unit vectors, as the released weights were trained.
        token_BLC = self.dot_product_projection_text(text_BLT / 2) / self.log_scale.exp()
        bias_BL = text_BLT @ self.bias_lang + self.bias0
        return clamped(region_BNC @ token_BLC.transpose(1, 2) + bias_BL[:, None]).float()

    def _boxes(self, region_BNC: Tensor, sizes: list[torch.Size]) -> tuple[Tensor, Tensor]:
        delta_BN4 = F.linear(region_BNC, self.bbox_pred.weight.flatten(1), self.bbox_pred.bias)
        levels = delta_BN4.split([size.numel() for size in sizes], dim=1)
        delta_BN4 = torch.cat([scale(level) for scale, level in zip(self.scales, levels, strict=True)], dim=1)
        centerness_BN1 = F.linear(region_BNC, self.centerness.weight.flatten(1), self.centerness.bias)
        return delta_BN4.float(), centerness_BN1[..., 0].float()
