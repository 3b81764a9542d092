"""Maps and cells of CLIP's ResNets."""

from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.positions import Interpolation, resize_positions
from vlm_dense.vlms.readouts import Readout, merge_heads, plain_mix, split_heads

MIN_SIDE = 31  # pixels; the first convolution rounds up, the four halvings after it down


DILATED_STAGES = {32: (), 16: ('layer4',), 8: ('layer3', 'layer4')}


def dilate(visual: Any, output_stride: int) -> None:
    """Give the last stages finer maps from the same weights, in place.

    Their poolings are taken out. The 3x3 convolutions of a stage that lost its own stride reach as far as before from
    the second block on; the first block reaches as the stage before does (mmseg's ``contract_dilation``, as in
    MaskCLIP's ResNet).

    Args:
        visual: open_clip's ``ModifiedResNet``.
        output_stride: 8, 16 or 32; 32 changes nothing.
    """
    reach = 1
    for name in DILATED_STAGES[output_stride]:
        first, *others = getattr(visual, name)
        first.avgpool = nn.Identity()
        first.downsample[0] = nn.Identity()
        _set_dilation(first.conv2, reach)
        reach *= 2
        for block in others:
            _set_dilation(block.conv2, reach)


def _set_dilation(conv: nn.Conv2d, reach: int) -> None:
    conv.dilation = conv.padding = (reach, reach)


def resnet_maps(visual: Any, images_B3HW: Tensor) -> tuple[Tensor, ...]:
    """The outputs of the four stages, at strides 4, 8, 16 and 32 unless `dilate` made the last ones finer.

    Without that the last is ((H + 1) // 32, (W + 1) // 32) cells.

    Args:
        visual: open_clip's ``ModifiedResNet``.
        images_B3HW: Normalised pictures of any size.

    Raises:
        ConfigError: If a side is shorter than 31 pixels.
    """
    height, width = images_B3HW.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise ConfigError(f'pictures of {height} x {width} pixels hold no cell of 32 x 32. Pad or enlarge them.')
    # Convolutions are faster on CPUs when the channels of a pixel lie together.
    x = visual.stem(images_B3HW.contiguous(memory_format=torch.channels_last))
    maps = []
    for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = stage(x)
        maps.append(x)
    return tuple(maps)


def resnet_cells(visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation) -> Tensor:
    """Every cell of the last stage in the shared space, raw: (B, D, h, w).

    'value': c_proj(v_proj(x)), with neither attention nor positions (MaskCLIP, arXiv:2112.01071, section 3.2).
    'plain': each cell asks the attention pooling as the picture's mean does, see `pool_tokens`.
    """
    return _read_map(visual, resnet_maps(visual, images_B3HW)[-1], readout, interpolation)


def resnet_cells_and_keys(
    visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation
) -> tuple[Tensor, Tensor]:
    """As `resnet_cells`, and the keys of the attention pooling, without positions: (B, C, h, w)."""
    map_BChw = resnet_maps(visual, images_B3HW)[-1]
    keys_BhwC = visual.attnpool.k_proj(map_BChw.permute(0, 2, 3, 1))
    return _read_map(visual, map_BChw, readout, interpolation), keys_BhwC.permute(0, 3, 1, 2)


def _read_map(visual: Any, map_BChw: Tensor, readout: Readout, interpolation: Interpolation) -> Tensor:
    if readout == 'plain':
        cells_BLD = pool_tokens(visual.attnpool, map_BChw, interpolation)[:, 1:]
        return cells_BLD.transpose(1, 2).unflatten(2, map_BChw.shape[2:])
    pool = visual.attnpool
    return pool.c_proj(pool.v_proj(map_BChw.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def resnet_pictures(visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
    """Whole pictures of any size in the shared space, raw: (B, D)."""
    tokens_BLC = _tokens(visual.attnpool, resnet_maps(visual, images_B3HW)[-1], interpolation)
    return _ask(visual.attnpool, tokens_BLC[:, :1], tokens_BLC)[:, 0]


def pool_tokens(pool: Any, map_BChw: Tensor, interpolation: Interpolation = 'bicubic') -> Tensor:
    """CLIP's attention pooling with every token as a query, not the mean alone.

    DenseCLIP (arXiv:2112.01518, equation 1) reads the cells this way. The positional embedding is resized to the map.

    Args:
        pool: open_clip's ``AttentionPool2d``.
        map_BChw: Last stage, of any size.
        interpolation: As in `resize_positions`.

    Returns:
        (B, 1 + h w, D): the pooled vector, then the cells row by row.
    """
    tokens_BLC = _tokens(pool, map_BChw, interpolation)
    return _ask(pool, tokens_BLC, tokens_BLC)


def pool_masked(pool: Any, map_BChw: Tensor, inside_BNhw: Tensor, interpolation: Interpolation = 'bicubic') -> Tensor:
    """CLIP's attention pooling, asked once per mask, with the cells inside the mask as its only keys.

    FC-CLIP (arXiv:2308.02487) does so with ResNets. The query is the mean of all cells, which itself is no key.

    Args:
        pool: open_clip's ``AttentionPool2d``.
        map_BChw: Last stage, of any size.
        inside_BNhw: True inside a mask; each has at least one cell.
        interpolation: As in `resize_positions`.

    Returns:
        (B, N, D), raw.
    """
    tokens_BLC = _tokens(pool, map_BChw, interpolation)
    query_BNC = tokens_BLC[:, :1].expand(-1, inside_BNhw.shape[1], -1)
    return _ask(pool, query_BNC, tokens_BLC[:, 1:], inside_BNhw.flatten(2)[:, None])


class AttentionPooling(nn.Module):
    """CLIP's attention pooling of maps or regions of any size, with the mean as its one query.

    F-VLM (arXiv:2209.15639) and RegionCLIP (arXiv:2112.09106) read regions so, after RoIAlign. The positional embedding
    is resized to the map.

    Args:
        pool: open_clip's ``AttentionPool2d``; its weights stay where they are.
        interpolation: As in `resize_positions`.
    """

    def __init__(self, pool: nn.Module, interpolation: Interpolation = 'bicubic') -> None:
        super().__init__()
        self.pool = pool
        self.interpolation = interpolation

    def forward(self, region_NChw: Tensor) -> Tensor:
        """Last stage, (N, C, h, w), to (N, D, 1, 1), raw; N may be 0."""
        tokens_NLC = _tokens(self.pool, region_NChw, self.interpolation)
        return _ask(self.pool, tokens_NLC[:, :1], tokens_NLC).transpose(1, 2)[..., None]


def _tokens(pool: Any, map_BChw: Tensor, interpolation: Interpolation) -> Tensor:
    """The mean, then the cells row by row, with their positions: (B, 1 + h w, C)."""
    cells_BLC = map_BChw.flatten(2).transpose(1, 2)
    height, width = map_BChw.shape[2:]
    side = isqrt(len(pool.positional_embedding) - 1)
    positions_LC = resize_positions(pool.positional_embedding, (side, side), (height, width), interpolation)
    return torch.cat([cells_BLC.mean(dim=1, keepdim=True), cells_BLC], dim=1) + positions_LC.to(cells_BLC.dtype)


def _ask(pool: Any, queries_BQC: Tensor, tokens_BLC: Tensor, mask_B1QL: Tensor | None = None) -> Tensor:
    """The answers of the tokens to the queries, (B, Q, D); the mask as in `plain_mix`."""
    pairs = ((pool.q_proj, queries_BQC), (pool.k_proj, tokens_BLC), (pool.v_proj, tokens_BLC))
    q, k, v = (split_heads(project(rows), pool.num_heads) for project, rows in pairs)
    return pool.c_proj(merge_heads(plain_mix(q, k, v, mask_B1QL)))
