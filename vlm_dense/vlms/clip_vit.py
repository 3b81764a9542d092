"""Maps and cells of open_clip's plain vision transformers."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.vlms.positions import Interpolation, resize_positions
from vlm_dense.vlms.readouts import Readout, project_tokens, read_block, read_first
from vlm_dense.vlms.taps import as_map, check_patch


def start_tokens(visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> tuple[Tensor, tuple[int, int]]:
    """What enters the first block, for pictures of any size, and the grid's height and width in cells.

    Pixels beyond the last whole patch do not count, as in open_clip. Patches are never dropped.

    Args:
        visual: open_clip's ``VisionTransformer``.
        images_B3HW: Normalised pictures.
        interpolation: As in `resize_positions`.

    Returns:
        (B, 1 + h w, C), the picture's own token first; (h, w).

    Raises:
        ConfigError: If a picture is smaller than one patch.
    """
    cells_BLC, grid = cut_patches(visual, images_B3HW)
    return place_cells(visual, cells_BLC, grid, interpolation), grid


def cut_patches(visual: Any, images_B3HW: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The first convolution: cells (B, h w, C) without positions, and (h, w). Arguments as in `start_tokens`."""
    check_patch(images_B3HW, visual.patch_size)
    patches_BChw = visual.conv1(images_B3HW)
    height, width = patches_BChw.shape[2:]
    return patches_BChw.flatten(2).transpose(1, 2), (height, width)


def place_cells(visual: Any, cells_BLC: Tensor, grid: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Cells with the picture's own token before them, all with their positions and normed: (B, 1 + h w, C)."""
    picture_B1C = visual.class_embedding.to(cells_BLC.dtype).expand(len(cells_BLC), 1, -1)
    positions_LC = resize_positions(visual.positional_embedding, visual.grid_size, grid, interpolation)
    tokens_BLC = torch.cat([picture_B1C, cells_BLC], dim=1) + positions_LC.to(cells_BLC.dtype)
    return visual.ln_pre(tokens_BLC)


def tapped_tokens(
    visual: Any, images_B3HW: Tensor, taps: Sequence[int], interpolation: Interpolation = 'bicubic'
) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
    """All tokens after the given blocks, without the final norm; later blocks do not run.

    Args:
        visual: open_clip's ``VisionTransformer``.
        images_B3HW: Normalised pictures of any size.
        taps: Block numbers from 0, ascending, each once.
        interpolation: As in `resize_positions`.

    Returns:
        (B, 1 + h w, C) each, the picture's own token first; (h, w).
    """
    tokens_BLC, grid = start_tokens(visual, images_B3HW, interpolation)
    taken = []
    for number, block in enumerate(visual.transformer.resblocks[: taps[-1] + 1]):
        tokens_BLC = block(tokens_BLC)
        if number in taps:
            taken.append(tokens_BLC)
    return tuple(taken), grid


def transformer_pictures(visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> Tensor:
    """Whole pictures of any size in the shared space, raw: (B, D)."""
    if asks_once(visual):
        return pictures_after(visual, last_block_input(visual, images_B3HW, interpolation)[0])
    tokens_BLC, _ = start_tokens(visual, images_B3HW, interpolation)
    return _pooled(visual, visual.transformer(tokens_BLC))


def asks_once(visual: Any) -> bool:
    """Whether in the last block only the picture's own token has to ask, and the others but answer.

    That is so where this token alone is pooled and the block runs as it is: torch's attention without hooks, neither
    checkpointing nor dropped patches.
    """
    last = visual.transformer.resblocks[-1]
    pools_first = visual.attn_pool is None and visual.pool_type == 'tok'
    runs_plainly = isinstance(visual.patch_dropout, nn.Identity) and not visual.transformer.grad_checkpointing
    if not pools_first or not runs_plainly or not isinstance(last.attn, nn.MultiheadAttention):
        return False
    skipped = (visual, visual.transformer, last, last.attn)
    return not any(module._forward_hooks or module._forward_pre_hooks for module in skipped)


def pictures_after(visual: Any, tokens_BLC: Tensor) -> Tensor:
    """What the last block, the final norm and the projection make of the pictures, raw: (B, D).

    Args:
        visual: open_clip's ``VisionTransformer``.
        tokens_BLC: What enters the last block.
    """
    last = visual.transformer.resblocks[-1]
    return _pooled(visual, read_first(last, tokens_BLC) if asks_once(visual) else last(tokens_BLC))


def _pooled(visual: Any, tokens_BLC: Tensor) -> Tensor:
    pooled_BC, _ = visual._pool(tokens_BLC)
    return pooled_BC if visual.proj is None else pooled_BC @ visual.proj


def last_block_input(visual: Any, images_B3HW: Tensor, interpolation: Interpolation) -> tuple[Tensor, tuple[int, int]]:
    """What enters the last block, (B, 1 + h w, C), the picture's own token first; (h, w)."""
    tokens_BLC, grid = start_tokens(visual, images_B3HW, interpolation)
    for block in visual.transformer.resblocks[:-1]:
        tokens_BLC = block(tokens_BLC)
    return tokens_BLC, grid


def transformer_cells(visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation) -> Tensor:
    """Every cell in the shared space, raw: last block as the read-out says, final norm, projection: (B, D, h, w)."""
    tokens_BLC, grid = last_block_input(visual, images_B3HW, interpolation)
    return _cells_after(visual, tokens_BLC, grid, readout)


def transformer_cells_and_keys(
    visual: Any, images_B3HW: Tensor, readout: Readout, interpolation: Interpolation
) -> tuple[Tensor, Tensor]:
    """As `transformer_cells`, and the keys of the last attention, all heads side by side: (B, C, h, w).

    Public code of MaskCLIP also sends the keys through the output projection of the attention; here they are the keys
    that the attention itself compares.
    """
    tokens_BLC, grid = last_block_input(visual, images_B3HW, interpolation)
    keys_BLC = project_tokens(visual.transformer.resblocks[-1], tokens_BLC[:, 1:])[1]
    return _cells_after(visual, tokens_BLC, grid, readout), as_map(keys_BLC, grid)


def mixed_cells(
    visual: Any, images_B3HW: Tensor, mix_BLL: Tensor, grid: tuple[int, int], interpolation: Interpolation
) -> Tensor:
    """Every cell in the shared space, raw, where the last attention is a given one: (B, D, h, w).

    The values of the cells are resized to the grid (bilinear), mixed alike in all heads, and go through the output
    projection, the final norm and the projection. Residual and feed-forward part of the block are dropped
    (ProxyCLIP, arXiv:2408.04883).

    Args:
        visual: open_clip's ``VisionTransformer``.
        images_B3HW: Normalised pictures of any size.
        mix_BLL: Weights of the L = h w cells of the grid; rows add up to 1.
        grid: Height and width of the result in cells.
        interpolation: As in `resize_positions`.
    """
    tokens_BLC, own_grid = last_block_input(visual, images_B3HW, interpolation)
    block = visual.transformer.resblocks[-1]
    values_BChw = as_map(project_tokens(block, tokens_BLC[:, 1:])[2], own_grid)
    values_BChw = F.interpolate(values_BChw, size=grid, mode='bilinear', align_corners=False)
    mixed_BLC = mix_BLL.to(values_BChw) @ values_BChw.flatten(2).transpose(1, 2)
    return as_map(transformer_rows(visual, block.ls_1(block.attn.out_proj(mixed_BLC))), grid)


def _cells_after(visual: Any, tokens_BLC: Tensor, grid: tuple[int, int], readout: Readout) -> Tensor:
    last = visual.transformer.resblocks[-1]
    tokens_BLC = last(tokens_BLC) if readout == 'plain' else read_block(last, tokens_BLC, readout)
    return as_map(transformer_rows(visual, tokens_BLC[:, 1:]), grid)


def transformer_rows(visual: Any, rows_C: Tensor) -> Tensor:
    """Tokens after the last block in the shared space, raw: final norm and projection, (..., C) to (..., D)."""
    rows_C = visual.ln_post(rows_C)
    return rows_C if visual.proj is None else rows_C @ visual.proj
