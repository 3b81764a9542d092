"""Tokens, cells and pictures of timm's vision transformers: ViT, DINO, SigLIP, EVA-02 and their like.

timm's own forward pass takes one picture size; here positions are resized at run time, without changing the trunk.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlm_dense.vlms.positions import Interpolation, resize_positions
from vlm_dense.vlms.taps import Grid, Tapped, as_map, check_patch

POOLS = ('token', 'avg', 'map')


def is_timm_vit(trunk: Any) -> bool:
    """Whether the trunk is timm's ``VisionTransformer`` or ``Eva`` over square-cut patches, not a relative of them."""
    from timm.layers import PatchEmbed
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    return type(trunk) in (VisionTransformer, Eva) and type(trunk.patch_embed) is PatchEmbed


def pools_tokens(trunk: Any) -> bool:
    """Whether one token can be read as the pooled one is: taken, averaged, or attended to by a head."""
    return trunk.global_pool in POOLS


def tapped_tokens(trunk: Any, images_B3HW: Tensor, taps: Sequence[int], interpolation: Interpolation) -> Tapped:
    """All tokens after the given blocks, without the final norm; later blocks do not run.

    Pixels beyond the last whole patch do not count.

    Args:
        trunk: As `is_timm_vit` accepts it.
        images_B3HW: Normalised pictures of any size.
        taps: Block numbers from 0, ascending, each once.
        interpolation: As in `resize_positions`.

    Returns:
        (B, P + h w, C) each, the P tokens that are not cells first; (h, w).

    Raises:
        ConfigError: If a picture is smaller than one patch.
    """
    tokens_BLC, grid = _start(trunk, images_B3HW, interpolation)
    rotations = _rotations(trunk, grid)
    taken = []
    for number, block in enumerate(trunk.blocks[: taps[-1] + 1]):
        if rotations is None:
            tokens_BLC = block(tokens_BLC)
        else:
            tokens_BLC = block(tokens_BLC, rope=rotations[number] if trunk.rope_mixed else rotations)
        if number in taps:
            taken.append(tokens_BLC)
    return tuple(taken), grid


def vit_cells(visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
    """Every cell in the shared space, raw: what the head would say if the cell were all that it pools: (B, D, h, w).

    For a head that takes the class token or an average this is final norm and projection. For one that pools with
    attention it is the path of the value: a softmax over one token is 1, whatever the query.

    Args:
        visual: open_clip's ``TimmModel`` whose trunk `is_timm_vit` and `pools_tokens` accept.
        images_B3HW: Normalised pictures of any size.
        interpolation: As in `resize_positions`.
    """
    trunk = visual.trunk
    (tokens_BLC,), grid = tapped_tokens(trunk, images_B3HW, [len(trunk.blocks) - 1], interpolation)
    cells_ND = vit_rows(visual, tokens_BLC[:, trunk.num_prefix_tokens :].flatten(0, 1))
    return as_map(cells_ND.unflatten(0, (len(images_B3HW), -1)), grid)


def vit_rows(visual: Any, rows_NC: Tensor) -> Tensor:
    """Tokens after the last block in the shared space, each as if it were all that the head pools, raw: (N, D)."""
    trunk = visual.trunk
    rows_NC = trunk.norm(rows_NC)
    pooled_NC = rows_NC if trunk.attn_pool is None else trunk.attn_pool(rows_NC[:, None])
    return visual.head(trunk.head(trunk.fc_norm(pooled_NC)))


def vit_pictures(visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
    """Whole pictures of any size in the shared space, raw: (B, D)."""
    trunk = visual.trunk
    (tokens_BLC,), _ = tapped_tokens(trunk, images_B3HW, [len(trunk.blocks) - 1], interpolation)
    return visual.head(trunk.forward_head(trunk.norm(tokens_BLC)))


def _start(trunk: Any, images_B3HW: Tensor, interpolation: Interpolation) -> tuple[Tensor, Grid]:
    """What enters the first block."""
    embed = trunk.patch_embed
    check_patch(images_B3HW, embed.patch_size)
    patches_BChw = embed.proj(images_B3HW)
    grid = (patches_BChw.shape[2], patches_BChw.shape[3])
    cells_BLC = embed.norm(patches_BChw.flatten(2).transpose(1, 2))
    first = [token for token in (trunk.cls_token, trunk.reg_token) if token is not None]
    tokens_BLC = torch.cat([*(token.expand(len(cells_BLC), -1, -1) for token in first), cells_BLC], dim=1)
    if trunk.pos_embed is not None:
        placed = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
        positions_LC = resize_positions(trunk.pos_embed[0], embed.grid_size, grid, interpolation, placed)
        tokens_BLC = tokens_BLC + F.pad(positions_LC, (0, 0, trunk.num_prefix_tokens - placed, 0))
    return trunk.norm_pre(tokens_BLC), grid


def _rotations(trunk: Any, grid: Grid) -> Tensor | None:
    """Rotary embeddings of a grid's cells, where the trunk has any."""
    from timm.layers.pos_embed_sincos import RotaryEmbeddingCat

    rope = getattr(trunk, 'rope', None)
    if rope is None:
        return None
    if isinstance(rope, RotaryEmbeddingCat) and rope.feat_shape is not None:
        # One that was made for a fixed grid ignores the shape it is asked for; the trunk's own must stay as it is.
        rope = deepcopy(rope)
        rope.update_feat_shape(list(grid))
    return rope.get_embed(shape=list(grid))
