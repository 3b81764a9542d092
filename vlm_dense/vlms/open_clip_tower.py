"""The picture half of any open_clip model."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.mask_pooling import MaskKind
from vlm_dense.vlms.positions import INTERPOLATIONS, Interpolation
from vlm_dense.vlms.readers import input_side, reader_of
from vlm_dense.vlms.readouts import Readout
from vlm_dense.vlms.tower import ImageTower, pixel_scale


@MODELS.register_module()
class OpenClipTower(ImageTower):
    """Pictures to the embedding space of an open_clip model. Weights are looked for on this machine.

    Four families take pictures of any size: CLIP's ResNets, plain vision transformers (with or without QuickGELU),
    timm's vision transformers (EVA-02, SigLIP), and timm's convolutional trunks (ConvNeXt). Parameters keep
    open_clip's names, under ``visual``.

    Args:
        name: Architecture, as in ``open_clip.list_models()``, or ``NAME:PRETRAINED`` as one string.
        pretrained: Path of a checkpoint, a tag whose file is in a local cache, or None for random weights that are
            the same in every process.
        readout: How `embed_dense` reads cells. 'plain': as the tower was trained, the last tokens through final norm
            and projection, or a ResNet's attention pooling asked by every cell. 'value': MaskCLIP, for plain
            transformers, ResNets, and heads that pool with attention (SigLIP), which have no other. 'qq+kk': SCLIP,
            and 'qq': ClearCLIP, for plain transformers. None is 'value' for ResNets and SigLIP, whose pooling then
            mixes no cells, and 'plain' for the others. The formulas are in ``readouts`` and ``timm_vit``.
        interpolation: How positional embeddings are resized, see `resize_positions`.
        taps: After which blocks of a transformer `pyramid` takes its maps, counted from 0; None takes four evenly
            spaced ones that end with the last.
        output_stride: 32, or for CLIP's ResNets 16 or 8, which gives finer maps from the same weights; see
            ``clip_resnet.dilate``. Such a tower embeds no whole pictures.

    Raises:
        ConfigError: If the architecture is unknown, or lacks the read-out, the taps or the stride.
        MissingFileError: If the weights are not on this machine.
        CheckpointError: If the weights do not fit.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None = None,
        readout: Readout | None = None,
        interpolation: Interpolation = 'bicubic',
        taps: Sequence[int] | None = None,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        self._source = source = find_open_clip(name, pretrained)
        visual: Any = load_open_clip(source, 'image', self._extend).visual
        self.visual = visual
        self.embed_dim = source.embed_dim
        preprocessing = visual.preprocess_cfg
        self.mean = pixel_scale(preprocessing['mean'])
        self.std = pixel_scale(preprocessing['std'])
        self.input_size = input_side(visual)
        self._reader = reader_of(visual, source.name)
        if interpolation not in INTERPOLATIONS:
            raise ConfigError(
                f"interpolation='{interpolation}' of OpenClipTower: write one of {', '.join(INTERPOLATIONS)}."
            )
        self.interpolation = interpolation
        self.readout = self._reader.checked_readout(visual, readout)
        self.taps = self._reader.checked_taps(visual, taps)
        self._reader.set_stride(visual, output_stride)
        self.output_stride = output_stride

    def _extend(self, model: Any) -> None:
        """Add what a kind of tower has beside open_clip's weights, before these are read."""

    @property
    def fingerprint(self) -> str:
        """Architecture, SHA-256 of the weights, and the settings that are not the usual ones."""
        readout = self._reader.readouts(self.visual)[0]
        usual = {'readout': readout, 'interpolation': 'bicubic', 'taps': None, 'output_stride': 32}
        chosen = [f':{key}-{getattr(self, key)}' for key, value in usual.items() if getattr(self, key) != value]
        return self._source.fingerprint() + ''.join(chosen)

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        """Pictures to (B, D) unit rows; at `input_size` as ``encode_image(normalize=True)``.

        Other sizes resize the positions, those of a ResNet's attention pooling too.

        Raises:
            ConfigError: If the trunk takes no other size or its maps have another stride than 32, or a picture is
                smaller than one cell.
        """
        if self.output_stride != 32:
            raise ConfigError(
                f'a tower with output_stride={self.output_stride} embeds no whole pictures. Build another with 32.'
            )
        picture_BD = self._reader.pictures(self.visual, images_B3HW, self.interpolation)
        return F.normalize(picture_BD, dim=-1)

    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        """Every cell to (B, D, h, w), unit length along D; h and w are the sides over the stride, rounded down.

        A ResNet's first convolution rounds up instead: a side of 63 pixels gives two cells.

        Raises:
            ConfigError: If the trunk has no dense read-out, or a picture is smaller than one cell.
        """
        cells_BDhw = self._reader.cells(self.visual, images_B3HW, self.readout, self.interpolation)
        return F.normalize(cells_BDhw, dim=1)

    def embed_dense_and_keys(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """As `embed_dense`, and the keys of the last attention, for CLIP's ResNets and plain vision transformers.

        Raises:
            ConfigError: If the trunk has no such attention, or a picture is smaller than one cell.
        """
        cells_BDhw, keys_BChw = self._reader.cells_and_keys(self.visual, images_B3HW, self.readout, self.interpolation)
        return F.normalize(cells_BDhw, dim=1), keys_BChw

    def embed_mixed(self, images_B3HW: Tensor, mix_BLL: Tensor, grid: tuple[int, int]) -> Tensor:
        """Cells of a transformer whose last attention is a given one: (B, D, h, w), unit length along D.

        Args:
            images_B3HW: Normalised pictures of any size.
            mix_BLL: Attention between the L = h w cells of the grid, the same for all heads; rows add up to 1.
            grid: Height and width of the result in cells; see `vlm_dense.vlms.clip_vit.mixed_cells`.

        Raises:
            ConfigError: If the trunk has no such attention, or a picture is smaller than one cell.
        """
        cells_BDhw = self._reader.mixed_cells(self.visual, images_B3HW, mix_BLL, grid, self.interpolation)
        return F.normalize(cells_BDhw, dim=1)

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Raw maps: four stages at strides 4, 8, 16 and 32, or a transformer's taps, all at the stride of its patch.

        Raises:
            ConfigError: If the trunk has no maps here, or a picture is smaller than one cell.
        """
        return self._reader.maps(self.visual, images_B3HW, self.taps, self.interpolation)

    def class_token_pyramid(self, images_B3HW: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """A transformer's taps, each with the class token (B, C) of the same block.

        Raises:
            ConfigError: If the trunk has no class token, or a picture is smaller than one patch.
        """
        return self._reader.class_token_maps(self.visual, images_B3HW, self.taps, self.interpolation)

    @property
    def blocks(self) -> Any:
        """As `ImageTower.blocks`."""
        return self._reader.blocks(self.visual)

    @property
    def prefix_tokens(self) -> int:
        """As `ImageTower.prefix_tokens`."""
        return self._reader.prefix_tokens(self.visual)

    def tail(self, stage: int = -1) -> nn.Module:
        """The later stages of a CLIP ResNet and its attention pooling: regions of stage 3 or 2 to (N, D, 1, 1).

        After RoIAlign, ``stage=-1`` reads regions as F-VLM does, and ``stage=2`` as RegionCLIP (C4).

        Raises:
            ConfigError: If the trunk is no CLIP ResNet.
        """
        layers = self._reader.layers(self.visual, self.interpolation)
        return nn.Sequential(*layers[self._checked_stage(stage, len(layers) - 1) + 1 :])

    def embed_masks(self, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind = 'hard') -> tuple[Tensor, Tensor]:
        """Masks over the last map of `pyramid` to unit rows, (B, N, D), and flags (B, N), as `ImageTower.embed_masks`.

        The mean of the raw map inside a mask goes through final norm, head and projection as one cell does in
        `embed_dense` with ``readout='plain'``: FC-CLIP (arXiv:2308.02487) reads ConvNeXt so. A ResNet's attention
        pooling is asked once per mask, with the mask's cells as keys, see `pool_masked`; its masks are 'hard' only.
        For other read-outs average `embed_dense` itself with `pool_masks`.

        Raises:
            ConfigError: If the trunk has no such read-out, its last tap is not its last block, or a ResNet is asked
                for soft masks.
            DataError: If maps and masks differ in number.
        """
        return super().embed_masks(map_BChw, mask_BNHW, kind)

    def _pooled_masks(self, map_BChw: Tensor, mask_BNHW: Tensor, kind: MaskKind) -> tuple[Tensor, Tensor]:
        return self._reader.pooled_masks(self.visual, map_BChw, mask_BNHW, kind, self.taps, self.interpolation)
