"""A frozen image tower that looks at crops of regions.

Source: ViLD (arXiv:2104.13921), Sec. 3.3: embeddings of the region and of a region 1.5 times larger about the same
centre are added and brought to unit length.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.branches.picture_frame import is_whole, to_disk
from vlm_dense.vlms import ContentMemory, FrozenTower, RegionBank, crop_regions
from vlm_dense.vlms.crops import Fit

SCALES = (1.0, 1.5)
CROPS_AT_ONCE = 256  # Bounds memory; the result does not depend on it.


class CropTeacher(BaseModule):
    """Region embeddings of a frozen tower; nothing of it enters a state dict.

    Attributes:
        embed_dim: Width D of the embeddings.

    Args:
        tower: Config of an image tower.
        scales: Sizes of the crops relative to the region.
        size: Side of a crop in pixels; None takes the tower's own input size.
        fit: How a region becomes a square, 'squash' or 'center', see `crop_regions`.
        memory_bytes: How many embeddings of crops are kept, see `ContentMemory`.
        bank: Folder of a `RegionBank`: embeddings come from there, that is, from the pictures on disk, before any
            resizing, flipping or jitter. None computes all.
        missing: What happens to regions that the bank lacks: 'error', or 'compute' to embed them from the batch. With
            'error' the tower is built to name the bank, and not kept: training holds no teacher.

    Raises:
        ConfigError: If ``missing`` is neither of its two values.
    """

    def __init__(
        self,
        tower: dict,
        scales: Sequence[float] = SCALES,
        size: int | None = None,
        fit: Fit = 'squash',
        memory_bytes: int = 0,
        bank: str | None = None,
        missing: Literal['error', 'compute'] = 'error',
    ) -> None:
        super().__init__()
        if missing not in ('error', 'compute'):
            raise ConfigError(f"CropTeacher: missing={missing!r}; write 'error' or 'compute'.")
        self.memory = ContentMemory(memory_bytes)
        frozen = FrozenTower(tower)
        self.embed_dim = frozen.embed_dim
        self.scales = tuple(scales)
        self.size = size or frozen.input_size
        self.fit = fit
        self.missing = missing
        self.bank = None
        if bank is not None:
            self.bank = RegionBank(bank, teacher_name(frozen, self.scales, self.size, fit))
        self.tower = frozen if bank is None or missing == 'compute' else None

    @torch.no_grad()
    def forward(
        self,
        pictures_B3HW: Tensor,
        boxes: list[Tensor],
        shapes: list[tuple[int, int]],
        metas: Sequence[Mapping[str, Any]] | None = None,
    ) -> Tensor:
        """Embeddings of regions, from the bank where there is one.

        Args:
            pictures_B3HW: RGB, 0..255.
            boxes: Per picture (n, 4) xyxy px.
            shapes: Height and width of every picture without its padding; crops end there.
            metas: Per picture what its sample says of file, size, resizing and flipping; a bank needs them.

        Returns:
            (N, D) unit rows, pictures one after the other.

        Raises:
            DataError: If the bank lacks a region or is damaged.
            ConfigError: If the pictures were cropped before, so that the bank cannot be asked.
            MissingFileError: If there is no bank of this teacher.
        """
        if self.bank is None:
            return self.compute(pictures_B3HW, boxes, shapes)
        assert metas is not None
        if self.missing == 'error':
            pairs = zip(boxes, metas, strict=True)
            stored = [self.bank.lookup(meta['img_path'], to_disk(boxes_N4, meta)) for boxes_N4, meta in pairs]
            return _joined(stored, self.embed_dim).to(pictures_B3HW)
        return self._look_up_or_compute(pictures_B3HW, boxes, shapes, metas)

    def _look_up_or_compute(
        self,
        pictures_B3HW: Tensor,
        boxes: list[Tensor],
        shapes: list[tuple[int, int]],
        metas: Sequence[Mapping[str, Any]],
    ) -> Tensor:
        found, absent, flags = [], [], []
        for boxes_N4, meta in zip(boxes, metas, strict=True):
            region_nD, found_N = self._find(boxes_N4, meta)
            found.append(region_nD)
            flags.append(found_N)
            absent.append(boxes_N4[~found_N.to(boxes_N4.device)])
        found_N = torch.cat(flags).to(pictures_B3HW.device)
        region_ND = pictures_B3HW.new_empty(len(found_N), self.embed_dim)
        region_ND[found_N] = _joined(found, self.embed_dim).to(pictures_B3HW)
        if not found_N.all():
            region_ND[~found_N] = self.compute(pictures_B3HW, absent, shapes).to(region_ND)
        return region_ND

    def _find(self, boxes_N4: Tensor, meta: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        assert self.bank is not None
        if not is_whole(meta):
            return boxes_N4.new_empty(0, 0), torch.zeros(len(boxes_N4), dtype=torch.bool)
        return self.bank.find(meta['img_path'], to_disk(boxes_N4, meta))

    @torch.no_grad()
    def compute(self, pictures_B3HW: Tensor, boxes: list[Tensor], shapes: list[tuple[int, int]]) -> Tensor:
        """As `forward`, always through the tower.

        Raises:
            ConfigError: If all answers are to come from the bank, so that there is no tower.
        """
        self._kept_tower()
        crops_SN3ss = crop_regions(pictures_B3HW, boxes, self.scales, self.size, shapes, self.fit)
        chunks = crops_SN3ss.flatten(0, 1).split(CROPS_AT_ONCE)
        embeddings = torch.cat([self.memory(self._embed, chunk)[0] for chunk in chunks])
        return functional.normalize(embeddings.unflatten(0, crops_SN3ss.shape[:2]).sum(0), dim=1)

    def _embed(self, crops_N3ss: Tensor) -> tuple[Tensor]:
        tower = self._kept_tower()
        normal_N3ss = tower.normalize(crops_N3ss)
        # This layout is a third faster on CPUs; the values are the same.
        return (tower.embed_images(normal_N3ss.contiguous(memory_format=torch.channels_last)),)

    def _kept_tower(self) -> FrozenTower:
        if self.tower is None:
            raise ConfigError("this CropTeacher answers from its bank alone. Set missing='compute' to embed regions.")
        return self.tower


def teacher_name(tower: FrozenTower, scales: Sequence[float], size: int, fit: Fit) -> str:
    """Names all that changes an embedding beside picture and box: tower, weights, crop settings."""
    written = ','.join(f'{scale:g}' for scale in scales)
    return f'{tower.fingerprint}|crops {written} of {size} px, {fit}'


def _joined(parts: list[Tensor], width: int) -> Tensor:
    """Rows of all pictures; those without a row may have any width."""
    return torch.cat([torch.empty(0, width), *(part for part in parts if len(part))])
