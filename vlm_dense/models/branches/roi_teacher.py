"""A frozen image tower that looks at regions of its own map.

Source: RegionCLIP (arXiv:2112.09106), Sec. 3.2: the teacher reads the student's regions by RoIAlign on its own map.
"""

from typing import Any

import torch
from mmdet.structures.bbox import bbox2roi
from mmengine.model import BaseModule
from torch import Tensor

from vlm_dense.registry import MODELS
from vlm_dense.vlms import ContentMemory, FrozenTower


class RoiTeacher(BaseModule):
    """Region embeddings of a frozen tower, from one pass over each picture; nothing of it enters a state dict.

    Args:
        tower: Config of an image tower with a tail.
        roi_extractor: Config of an mmdet RoI extractor on the map.
        stage: Which map of the tower's pyramid; -1 is the last, 2 the C4 style of CLIP's ResNets.
        memory_bytes: How many of the maps are kept, see `ContentMemory`.
    """

    def __init__(self, tower: dict, roi_extractor: dict, stage: int = -1, memory_bytes: int = 0) -> None:
        super().__init__()
        self.tower = FrozenTower(tower)
        self.roi_extractor: Any = MODELS.build(roi_extractor)
        self.stage = stage
        self.memory = ContentMemory(memory_bytes)
        self.embed_dim = self.tower.embed_dim

    @torch.no_grad()
    def forward(self, pictures_B3HW: Tensor, boxes: list[Tensor]) -> Tensor:
        """Embeddings of regions.

        Args:
            pictures_B3HW: RGB, 0..255.
            boxes: Per picture (n, 4) xyxy px.

        Returns:
            (N, D) unit rows, pictures one after the other.
        """
        maps = self.memory(self._map, pictures_B3HW)
        region_NChw = self.roi_extractor(maps, bbox2roi(boxes))
        return self.tower.tower.embed_regions(region_NChw, self.stage)

    def _map(self, pictures_B3HW: Tensor) -> tuple[Tensor]:
        return (self.tower.pyramid(self.tower.normalize(pictures_B3HW))[self.stage],)
