"""Sub-sentence attention: several phrases in one text that do not see each other (GLIP, Grounding DINO).

The mask is a 4-D float that is added to the attention scores. transformers 5 refuses three dimensions and adds a 4-D
boolean as 0 and 1 under eager attention, which masks nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.text.encoders.spans import Span

ALONE = -1


def blocks_of_spans(token_spans: Sequence[Span | None], block_spans: Sequence[Span]) -> list[int]:
    """Which phrase each token belongs to.

    Args:
        token_spans: L spans of tokens; None for special tokens.
        block_spans: Characters of each phrase, end excluded.

    Returns:
        L numbers of phrases; -1 for a token that lies in none.
    """
    blocks = []
    for span in token_spans:
        inside = [row for row, (start, end) in enumerate(block_spans) if span and start <= span[0] and span[1] <= end]
        blocks.append(inside[0] if inside else ALONE)
    return blocks


def block_mask(block_BL: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Additive mask in which a token sees the tokens of its own block.

    Args:
        block_BL: Number of the block of each token; a negative number (special tokens, padding) means that the token
            sees itself only and nobody else sees it.
        dtype: Floating type of the model.

    Returns:
        (B, 1, L, L), zero where seen and the least finite number elsewhere.
    """
    same_BLL = (block_BL[:, :, None] == block_BL[:, None, :]) & (block_BL >= 0)[:, :, None]
    seen_BLL = same_BLL | torch.eye(block_BL.shape[1], dtype=torch.bool, device=block_BL.device)
    mask_BLL = torch.zeros(seen_BLL.shape, dtype=dtype, device=block_BL.device)
    return mask_BLL.masked_fill(~seen_BLL, torch.finfo(dtype).min)[:, None]


def restarted_positions(block_BL: Tensor) -> Tensor:
    """(B, L) places that count from 0 in every block; 0 for a token alone (Grounding DINO's position ids)."""
    same_BLL = (block_BL[:, :, None] == block_BL[:, None, :]) & (block_BL >= 0)[:, :, None]
    return same_BLL.tril(diagonal=-1).sum(dim=-1)


def check_additive_mask(mask: Tensor, batch: int, length: int) -> None:
    """Refuse a mask that transformers would refuse or, worse, misread.

    Raises:
        ConfigError: If it is not floating, or not of shape (B, 1, L, L) (or with one row per head in place of 1).
    """
    if not mask.is_floating_point():
        raise ConfigError(
            f'a sub-sentence mask of type {mask.dtype} is misread under eager attention. '
            'Give the additive float mask of block_mask().'
        )
    if mask.ndim != 4 or mask.shape[0] not in (1, batch) or mask.shape[2:] != (length, length):
        raise ConfigError(
            f'a sub-sentence mask of shape {tuple(mask.shape)} does not fit {batch} texts of {length} tokens: '
            f'it must be ({batch}, 1, {length}, {length}). Give the additive float mask of block_mask().'
        )
