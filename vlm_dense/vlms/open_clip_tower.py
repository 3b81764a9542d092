"""The picture half of any open_clip model."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms.clip_resnet import (
    DILATED_STAGES,
    AttentionPooling,
    dilate,
    pool_masked,
    resnet_cells,
    resnet_cells_and_keys,
    resnet_maps,
    resnet_pictures,
)
from vlm_dense.vlms.clip_vit import (
    mixed_cells,
    tapped_tokens,
    transformer_cells,
    transformer_cells_and_keys,
    transformer_pictures,
    transformer_rows,
)
from vlm_dense.vlms.mask_pooling import MaskKind, mask_weights, weighted_means
from vlm_dense.vlms.positions import INTERPOLATIONS, Interpolation
from vlm_dense.vlms.readouts import READOUTS, Readout
from vlm_dense.vlms.taps import check_taps, default_taps, read_taps
from vlm_dense.vlms.timm_trunk import reads_cells, stage_numbers, trunk_cells, trunk_maps, trunk_pictures, trunk_rows
from vlm_dense.vlms.timm_vit import is_timm_vit, pools_tokens, vit_cells, vit_pictures, vit_rows
from vlm_dense.vlms.timm_vit import tapped_tokens as timm_tapped_tokens
from vlm_dense.vlms.tower import ImageTower

Family = Literal['resnet', 'transformer', 'timm', 'timm_vit', 'other']
REMEDY = "Take a plain vision transformer, timm's ViT or EVA, CLIP's ResNet, or ConvNeXt."


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
        source = find_open_clip(name, pretrained)
        visual: Any = load_open_clip(source, 'image').visual
        self.visual = visual
        self.embed_dim = source.embed_dim
        preprocessing = visual.preprocess_cfg
        self.mean = _to_pixel_scale(preprocessing['mean'])
        self.std = _to_pixel_scale(preprocessing['std'])
        size = visual.image_size
        self.input_size = int(size[0] if isinstance(size, tuple | list) else size)
        self._source = source
        self._family = _family(visual)
        if interpolation not in INTERPOLATIONS:
            raise ConfigError(
                f"interpolation='{interpolation}' of OpenClipTower: write one of {', '.join(INTERPOLATIONS)}."
            )
        self.interpolation = interpolation
        self.readout = self._checked_readout(readout)
        self.taps = self._checked_taps(taps)
        self.output_stride = self._checked_stride(output_stride)
        if self._family == 'resnet':
            dilate(visual, output_stride)

    @property
    def fingerprint(self) -> str:
        """Architecture, SHA-256 of the weights, and the settings that are not the usual ones."""
        usual = {'readout': self._usual_readout, 'interpolation': 'bicubic', 'taps': None, 'output_stride': 32}
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
        size, native = images_B3HW.shape[2:], (self.input_size, self.input_size)
        if size == native:
            picture_BD = self.visual(images_B3HW)
        elif self._family == 'resnet':
            picture_BD = resnet_pictures(self.visual, images_B3HW, self.interpolation)
        elif self._family == 'transformer':
            picture_BD = transformer_pictures(self.visual, images_B3HW, self.interpolation)
        elif self._family == 'timm_vit':
            picture_BD = vit_pictures(self.visual, images_B3HW, self.interpolation)
        elif self._family == 'timm' and reads_cells(self.visual):
            picture_BD = trunk_pictures(self.visual, images_B3HW)
        else:
            raise ConfigError(
                f"'{self._source.name}' embeds whole pictures of {native[0]} x {native[1]} pixels, not "
                f'{size[0]} x {size[1]}. Resize them, or crop with crop_regions(size={self.input_size}).'
            )
        return F.normalize(picture_BD, dim=-1)

    def embed_dense(self, images_B3HW: Tensor) -> Tensor:
        """Every cell to (B, D, h, w), unit length along D; h and w are the sides over the stride, rounded down.

        A ResNet's first convolution rounds up instead: a side of 63 pixels gives two cells.

        Raises:
            ConfigError: If the trunk has no dense read-out, or a picture is smaller than one cell.
        """
        if self._family == 'resnet':
            cells_BDhw = resnet_cells(self.visual, images_B3HW, self.readout, self.interpolation)
        elif self._family == 'transformer' and self.visual.attn_pool is None:
            cells_BDhw = transformer_cells(self.visual, images_B3HW, self.readout, self.interpolation)
        elif self._family == 'timm' and reads_cells(self.visual):
            cells_BDhw = trunk_cells(self.visual, images_B3HW)
        elif self._family == 'timm_vit' and pools_tokens(self.visual.trunk):
            cells_BDhw = vit_cells(self.visual, images_B3HW, self.interpolation)
        else:
            raise ConfigError(f"'{self._source.name}' has no dense read-out here. {REMEDY}")
        return F.normalize(cells_BDhw, dim=1)

    def embed_dense_and_keys(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """As `embed_dense`, and the keys of the last attention, for CLIP's ResNets and plain vision transformers.

        Raises:
            ConfigError: If the trunk has no such attention, or a picture is smaller than one cell.
        """
        if self._family == 'resnet':
            both = resnet_cells_and_keys(self.visual, images_B3HW, self.readout, self.interpolation)
        else:
            self._check_last_attention('keys of an attention')
            both = transformer_cells_and_keys(self.visual, images_B3HW, self.readout, self.interpolation)
        return F.normalize(both[0], dim=1), both[1]

    def embed_mixed(self, images_B3HW: Tensor, mix_BLL: Tensor, grid: tuple[int, int]) -> Tensor:
        """Cells of a transformer whose last attention is a given one: (B, D, h, w), unit length along D.

        Args:
            images_B3HW: Normalised pictures of any size.
            mix_BLL: Attention between the L = h w cells of the grid, the same for all heads; rows add up to 1.
            grid: Height and width of the result in cells; see `vlm_dense.vlms.clip_vit.mixed_cells`.

        Raises:
            ConfigError: If the trunk has no such attention, or a picture is smaller than one cell.
        """
        self._check_last_attention('values of an attention')
        return F.normalize(mixed_cells(self.visual, images_B3HW, mix_BLL, grid, self.interpolation), dim=1)

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Raw maps: four stages at strides 4, 8, 16 and 32, or a transformer's taps, all at the stride of its patch.

        Raises:
            ConfigError: If the trunk has no maps here, or a picture is smaller than one cell.
        """
        if self._family == 'resnet':
            return resnet_maps(self.visual, images_B3HW)
        if self.blocks is not None:
            return tuple(map_BChw for map_BChw, _ in self._tapped(images_B3HW))
        if self._family == 'timm' and stage_numbers(self.visual.trunk) is not None:
            return trunk_maps(self.visual.trunk, images_B3HW)
        raise ConfigError(f"'{self._source.name}' has no pyramid of maps here. {REMEDY}")

    def class_token_pyramid(self, images_B3HW: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """A transformer's taps, each with the class token (B, C) of the same block.

        Raises:
            ConfigError: If the trunk has no class token, or a picture is smaller than one patch.
        """
        if self.blocks is None or (self._family == 'timm_vit' and self.visual.trunk.cls_token is None):
            raise ConfigError(f"'{self._source.name}' has no class token. Take the maps alone.")
        return tuple((map_BChw, prefix_BPC[:, 0]) for map_BChw, prefix_BPC in self._tapped(images_B3HW))

    def _tapped(self, images_B3HW: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        assert self.blocks is not None
        taps = default_taps(len(self.blocks)) if self.taps is None else self.taps
        if self._family == 'timm_vit':
            run = partial(timm_tapped_tokens, self.visual.trunk, images_B3HW, interpolation=self.interpolation)
        else:
            run = partial(tapped_tokens, self.visual, images_B3HW, interpolation=self.interpolation)
        return read_taps(run, taps, self.prefix_tokens)

    @property
    def blocks(self) -> Any:
        """As `ImageTower.blocks`."""
        if self._family == 'transformer':
            return self.visual.transformer.resblocks
        return self.visual.trunk.blocks if self._family == 'timm_vit' else None

    @property
    def prefix_tokens(self) -> int:
        """As `ImageTower.prefix_tokens`."""
        return self.visual.trunk.num_prefix_tokens if self._family == 'timm_vit' else int(self.blocks is not None)

    def tail(self, stage: int = -1) -> nn.Module:
        """The later stages of a CLIP ResNet and its attention pooling: regions of stage 3 or 2 to (N, D, 1, 1).

        After RoIAlign, ``stage=-1`` reads regions as F-VLM does, and ``stage=2`` as RegionCLIP (C4).

        Raises:
            ConfigError: If the trunk is no CLIP ResNet.
        """
        if self._family != 'resnet':
            raise ConfigError(f"'{self._source.name}' has no tail after its pyramid here. Take CLIP's ResNet.")
        stages = [getattr(self.visual, f'layer{number}') for number in range(1, 5)]
        later = stages[self._checked_stage(stage, len(stages)) + 1 :]
        return nn.Sequential(*later, AttentionPooling(self.visual.attnpool, self.interpolation))

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
        self._check_reads_masks(kind)
        if self._family == 'timm':
            map_BChw = self.visual.trunk.norm_pre(map_BChw)
        weight_BNhw, empty_BN = mask_weights(mask_BNHW, map_BChw, kind)
        if self._family == 'resnet':
            return pool_masked(self.visual.attnpool, map_BChw, weight_BNhw > 0, self.interpolation), empty_BN
        rows_MC = weighted_means(map_BChw, weight_BNhw).flatten(0, 1)
        read = {'transformer': transformer_rows, 'timm_vit': vit_rows, 'timm': trunk_rows}[self._family]
        return read(self.visual, rows_MC).unflatten(0, empty_BN.shape), empty_BN

    def _check_reads_masks(self, kind: MaskKind) -> None:
        trunk = getattr(self.visual, 'trunk', None)
        reads = {
            'resnet': True,
            'transformer': getattr(self.visual, 'attn_pool', None) is None,
            'timm_vit': self._family == 'timm_vit' and pools_tokens(trunk),
            'timm': self._family == 'timm' and reads_cells(self.visual) and hasattr(trunk, 'norm_pre'),
        }
        if not reads.get(self._family, False):
            raise ConfigError(f"'{self._source.name}' reads no masks here. {REMEDY}")
        if self._family == 'resnet' and kind == 'soft':
            raise ConfigError(f"'{self._source.name}' pools masks with attention: write kind='hard'.")
        if self.taps is not None and self.taps[-1] != len(self.blocks) - 1:
            raise ConfigError(
                f'taps={self.taps} of OpenClipTower: masks are read from the last block. '
                f'End with {len(self.blocks) - 1}.'
            )

    @property
    def _usual_readout(self) -> Readout:
        pools_by_value = self._family == 'timm_vit' and self.visual.trunk.global_pool == 'map'
        return 'value' if self._family == 'resnet' or pools_by_value else 'plain'

    def _checked_readout(self, readout: Readout | None) -> Readout:
        if readout is None or readout == self._usual_readout:
            return self._usual_readout
        only = (self._usual_readout,)
        known: tuple[str, ...] = {'resnet': ('plain', 'value'), 'transformer': READOUTS}.get(self._family, only)
        if readout not in known:
            raise ConfigError(
                f"readout='{readout}' of OpenClipTower: '{self._source.name}' has {' and '.join(map(repr, known))}."
            )
        if self._family == 'transformer' and not isinstance(self._last_attention, nn.MultiheadAttention):
            raise ConfigError(
                f"readout='{readout}' of OpenClipTower: '{self._source.name}' has blocks with other attention. "
                "Use readout='plain'."
            )
        return readout

    def _checked_stride(self, output_stride: int) -> int:
        known = tuple(DILATED_STAGES) if self._family == 'resnet' else (32,)
        if output_stride not in known:
            raise ConfigError(
                f"output_stride={output_stride} of OpenClipTower: '{self._source.name}' takes "
                f'{" or ".join(map(str, known))}.'
            )
        return output_stride

    def _check_last_attention(self, what: str) -> None:
        usable = self._family == 'transformer' and isinstance(self._last_attention, nn.MultiheadAttention)
        if not usable or self.visual.attn_pool is not None:
            raise ConfigError(f"'{self._source.name}' has no {what} here. Take one of CLIP's vision transformers.")

    @property
    def _last_attention(self) -> nn.Module:
        return self.visual.transformer.resblocks[-1].attn

    def _checked_taps(self, taps: Sequence[int] | None) -> tuple[int, ...] | None:
        if taps is None:
            return None
        if self.blocks is None:
            raise ConfigError(f"taps of OpenClipTower: '{self._source.name}' has no blocks to tap. Leave them out.")
        check_taps(taps, len(self.blocks), 'OpenClipTower')
        return tuple(taps)


def _family(visual: nn.Module) -> Family:
    from open_clip.modified_resnet import ModifiedResNet  # open_clip takes seconds to import
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, ModifiedResNet):
        return 'resnet'
    if isinstance(visual, VisionTransformer):
        return 'transformer'
    if not isinstance(visual, TimmModel):
        return 'other'
    return 'timm_vit' if is_timm_vit(visual.trunk) else 'timm'


def _to_pixel_scale(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (255.0 * value for value in values)
    return red, green, blue
