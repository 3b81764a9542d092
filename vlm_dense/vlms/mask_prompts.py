"""A vision transformer that is told which patches of a picture lie outside a region."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.checkpoints.open_clip_models import state_dict_sha256
from vlm_dense.errors import ConfigError, DataError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.clip_vit import cut_patches, pictures_after, place_cells
from vlm_dense.vlms.open_clip_tower import OpenClipTower
from vlm_dense.vlms.positions import Interpolation, resize_positions
from vlm_dense.vlms.readers import TransformerReader, reader_of
from vlm_dense.vlms.readouts import Readout


@MODELS.register_module()
class MaskPromptedTower(OpenClipTower):
    """Mask prompt tuning (OVSeg, arXiv:2210.04150), on open_clip's plain vision transformers.

    A patch that holds no pixel of the mask is replaced by a learned token of its place, E_0 after the first
    convolution, before class token and positions, and E_d after the d-th block, d = 1 .. depth - 1. Without a mask,
    and where every patch holds some of it, the tower is the plain one.

    The tokens are the parameter ``visual.mask_embedding``, (depth, cells, C) for the grid of `input_size`, 3 x 196 x
    768 for B/16 at 224; they start at zero, and are resized as the positions are for other grids. They belong to
    whole pictures: `pyramid` and `embed_dense` take no masks.

    A checkpoint of `vlm_dense.RegionNamer`, which tunes such a tower, is a file of ``pretrained`` weights.

    Args:
        name: As in `OpenClipTower`.
        pretrained: As in `OpenClipTower`; without mask tokens among them these start at zero.
        depth: How many times patches are replaced.
        prompts_only: Whether the mask tokens alone have gradients, and the rest is frozen.
        readout: As in `OpenClipTower`.
        interpolation: As in `OpenClipTower`, for the mask tokens too.
        taps: As in `OpenClipTower`.

    Raises:
        ConfigError: As `OpenClipTower`; and if the architecture is no plain vision transformer, or ``depth`` is not
            between 1 and its number of blocks.
        MissingFileError: As `OpenClipTower`.
        CheckpointError: As `OpenClipTower`.
    """

    takes_masks = True

    def __init__(
        self,
        name: str,
        pretrained: str | None = None,
        depth: int = 3,
        prompts_only: bool = True,
        readout: Readout | None = None,
        interpolation: Interpolation = 'bicubic',
        taps: Sequence[int] | None = None,
    ) -> None:
        self.depth = depth  # read while the weights are
        super().__init__(name, pretrained, readout, interpolation, taps)
        self.visual.requires_grad_(not prompts_only)
        self.visual.mask_embedding.requires_grad_(True)

    def _extend(self, model: Any) -> None:
        visual = model.visual
        reader = reader_of(visual, self._source.name)
        if not isinstance(reader, TransformerReader):
            raise ConfigError(f"'{self._source.name}' takes no mask prompts. Take a plain vision transformer.")
        blocks = len(reader.blocks(visual))
        if not 1 <= self.depth <= blocks:
            raise ConfigError(f'depth={self.depth} of MaskPromptedTower: write 1 to {blocks}, its blocks.')
        height, width = visual.grid_size
        visual.mask_embedding = nn.Parameter(torch.zeros(self.depth, height * width, visual.conv1.out_channels))

    @property
    def fingerprint(self) -> str:
        """As `OpenClipTower.fingerprint`, and SHA-256 of the mask tokens."""
        tokens = nn.ParameterList([self.visual.mask_embedding])
        return f'{super().fingerprint}:mask-prompts-{state_dict_sha256(tokens)}'

    def embed_images(self, images_B3HW: Tensor, mask_BHW: Tensor | None = None) -> Tensor:
        """Pictures to (B, D) unit rows.

        Args:
            images_B3HW: Normalised pictures of any size.
            mask_BHW: What of each picture belongs to its region, boolean or 0 and 1; None for all of it.

        Raises:
            ConfigError: If a picture is smaller than one patch.
            DataError: If pictures and masks differ in number or size.
        """
        if mask_BHW is None:
            return super().embed_images(images_B3HW)
        if mask_BHW.shape != images_B3HW[:, 0].shape:
            raise DataError(
                f'pictures {tuple(images_B3HW[:, 0].shape)} came with masks {tuple(mask_BHW.shape)}. '
                'Give one mask of the same height and width per picture.'
            )
        visual: Any = self.visual
        cells_BLC, grid = cut_patches(visual, images_B3HW)
        hidden_BL1 = ~patches_inside(mask_BHW, visual.patch_size).flatten(1)[..., None]
        prompts = self._prompts(grid)
        cells_BLC = torch.where(hidden_BL1, prompts[0].to(cells_BLC.dtype), cells_BLC)
        tokens_BLC = place_cells(visual, cells_BLC, grid, self.interpolation)
        hidden_BL1 = F.pad(hidden_BL1, (0, 0, 1, 0))
        for number, block in enumerate(visual.transformer.resblocks[:-1], start=1):
            tokens_BLC = block(tokens_BLC)
            if number < self.depth:
                prompt_LC = F.pad(prompts[number], (0, 0, 1, 0)).to(tokens_BLC.dtype)
                tokens_BLC = torch.where(hidden_BL1, prompt_LC, tokens_BLC)
        return F.normalize(pictures_after(visual, tokens_BLC), dim=-1)

    def _prompts(self, grid: tuple[int, int]) -> list[Tensor]:
        """(h w, C) for each time that patches are replaced."""
        native, visual = self.visual.grid_size, self.visual
        return [resize_positions(cells_LC, native, grid, self.interpolation, 0) for cells_LC in visual.mask_embedding]


def patches_inside(mask_BHW: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Which whole patches hold any of the mask, (B, h, w): the mean over the patch, rounded up."""
    return F.max_pool2d(mask_BHW[:, None].float(), patch_size, patch_size)[:, 0] > 0
