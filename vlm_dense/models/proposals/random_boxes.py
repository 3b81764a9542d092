"""Boxes drawn at random, for pre-training without any proposal head."""

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS


@MODELS.register_module()
class RandomProposals(nn.Module):
    """Boxes with random corners, all with the same score (RegionCLIP, arXiv:2112.09106, Table 6: random boxes).

    Args:
        count: Boxes of a picture.
        min_side: Shortest side, as a part of the picture's.
        max_side: Longest side, likewise.

    Raises:
        ConfigError: If there is no such range of sides.
    """

    def __init__(self, count: int = 300, min_side: float = 0.1, max_side: float = 1.0) -> None:
        super().__init__()
        if not 0 < min_side <= max_side <= 1:
            raise ConfigError(
                f'RandomProposals: sides from {min_side} to {max_side}; give 0 < min_side <= max_side <= 1.'
            )
        self.count, self.min_side, self.max_side = count, min_side, max_side

    def forward(self, pictures_B3HW: Tensor, data_samples: list[DetDataSample]) -> list[InstanceData]:
        """As `ProposalSource`; while training other boxes at every call, else the same for every picture of a size."""
        return [self._boxes(pictures_B3HW, *sample.img_shape[:2]) for sample in data_samples]

    def _boxes(self, pictures_B3HW: Tensor, height: int, width: int) -> InstanceData:
        generator = None if self.training else torch.Generator().manual_seed(0)
        random_2N2 = torch.rand(2, self.count, 2, generator=generator).to(pictures_B3HW)
        side_N2 = self.min_side + (self.max_side - self.min_side) * random_2N2[0]
        corner_N2 = (1 - side_N2) * random_2N2[1]
        boxes_N4 = torch.cat([corner_N2, corner_N2 + side_N2], dim=1) * corner_N2.new_tensor([width, height] * 2)
        return InstanceData(bboxes=boxes_N4, scores=boxes_N4.new_ones(self.count))
