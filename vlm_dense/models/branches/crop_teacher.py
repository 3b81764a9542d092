"""A frozen image tower that looks at crops of regions.

Source: ViLD (arXiv:2104.13921), Sec. 3.3: embeddings of the region and of a region 1.5 times larger about the same
centre are added and brought to unit length.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from vlm_dense.vlms import ContentMemory, FrozenTower, crop_regions

SCALES = (1.0, 1.5)
CROPS_AT_ONCE = 256  # Bounds memory; the result does not depend on it.


class CropTeacher(BaseModule):
    """Region embeddings of a frozen tower; nothing of it enters a state dict.

    Args:
        tower: Config of an image tower.
        scales: Sizes of the crops relative to the region.
        size: Side of a crop in pixels; None takes the tower's own input size.
        memory_bytes: How many embeddings of crops are kept, see `ContentMemory`.
    """

    def __init__(
        self, tower: dict, scales: Sequence[float] = SCALES, size: int | None = None, memory_bytes: int = 0
    ) -> None:
        super().__init__()
        self.memory = ContentMemory(memory_bytes)
        self.tower = FrozenTower(tower)
        self.scales = tuple(scales)
        self.size = size or self.tower.input_size

    @property
    def embed_dim(self) -> int:
        """Width D of the embeddings."""
        return self.tower.embed_dim

    @torch.no_grad()
    def forward(self, pictures_B3HW: Tensor, boxes: list[Tensor], shapes: list[tuple[int, int]]) -> Tensor:
        """Embeddings of regions.

        Args:
            pictures_B3HW: RGB, 0..255.
            boxes: Per picture (n, 4) xyxy px.
            shapes: Height and width of every picture without its padding; crops end there.

        Returns:
            (N, D) unit rows, pictures one after the other.
        """
        mean_311 = pictures_B3HW.new_tensor(self.tower.mean).view(3, 1, 1)
        std_311 = pictures_B3HW.new_tensor(self.tower.std).view(3, 1, 1)
        crops_SN3ss = crop_regions((pictures_B3HW - mean_311) / std_311, boxes, self.scales, self.size, shapes)
        # This layout is a third faster on CPUs; the values are the same.
        crops_M3ss = crops_SN3ss.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        chunks = crops_M3ss.split(CROPS_AT_ONCE)
        embeddings = torch.cat([self.memory(self._embed, chunk)[0] for chunk in chunks])
        return functional.normalize(embeddings.unflatten(0, crops_SN3ss.shape[:2]).sum(0), dim=1)

    def _embed(self, crops_N3ss: Tensor) -> tuple[Tensor]:
        return (self.tower.embed_images(crops_N3ss),)
