"""What the last attention of a tower does when cells, not the picture, are asked for.

q, k and v are the projections of the tokens, d their width per head, W the output projection of the attention. They are
(B, N, L, d) each, with N heads and L tokens.
"""

from collections.abc import Callable
from math import sqrt
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

Readout = Literal['plain', 'value', 'qq+kk', 'qq']
READOUTS: tuple[str, ...] = ('plain', 'value', 'qq+kk', 'qq')


def plain_mix(q_BNLd: Tensor, k_BNLd: Tensor, v_BNLd: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v: the attention that the tower was trained with.

    ``mask``, (B, 1 or N, queries, keys), is True where a query may look; None lets it look everywhere.
    """
    return _attend(q_BNLd, k_BNLd, v_BNLd, mask)


def value_mix(q_BNLd: Tensor, k_BNLd: Tensor, v_BNLd: Tensor) -> Tensor:
    """v: each token attends to itself only (MaskCLIP, arXiv:2112.01071, section 3.2)."""
    return v_BNLd


def qq_kk_mix(q_BNLd: Tensor, k_BNLd: Tensor, v_BNLd: Tensor) -> Tensor:
    """(softmax(q q^T / sqrt(d)) + softmax(k k^T / sqrt(d))) v, the sum and not the mean (SCLIP, arXiv:2312.01597)."""
    return _attend(q_BNLd, q_BNLd, v_BNLd) + _attend(k_BNLd, k_BNLd, v_BNLd)


def qq_mix(q_BNLd: Tensor, k_BNLd: Tensor, v_BNLd: Tensor) -> Tensor:
    """softmax(q q^T / sqrt(d)) v (ClearCLIP, arXiv:2407.12442)."""
    return _attend(q_BNLd, q_BNLd, v_BNLd)


MIXES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    'plain': plain_mix,
    'value': value_mix,
    'qq+kk': qq_kk_mix,
    'qq': qq_mix,
}


def read_block(block: Any, tokens_BLC: Tensor, readout: Readout) -> Tensor:
    """One pre-norm transformer block, its attention replaced by a read-out's.

    With y = LN1(x) and a = W mix(q, k, v)(y): x + a + FFN(LN2(x + a)) for 'plain', 'value' and 'qq+kk', and a alone for
    'qq', since ClearCLIP drops the residual and the feed-forward part. Scales of the two branches, where the block has
    any, stay.

    Args:
        block: open_clip's ``ResidualAttentionBlock``.
        tokens_BLC: All tokens, the picture's included: it takes part in every attention.
        readout: One of `READOUTS`.

    Returns:
        (B, L, C).
    """
    mixed_BNLd = MIXES[readout](*project(block, tokens_BLC))
    return answer(block, mixed_BNLd) if readout == 'qq' else finish(block, tokens_BLC, mixed_BNLd)


def read_first(block: Any, tokens_BLC: Tensor) -> Tensor:
    """The first token after a block, (B, 1, C): as the block itself makes it, but no other token asks.

    Args:
        block: open_clip's ``ResidualAttentionBlock``.
        tokens_BLC: All tokens before the block; all answer.
    """
    attention = block.attn
    normed_BLC = block.ln_1(tokens_BLC)
    width = normed_BLC.shape[-1]
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    q_B1C = F.linear(normed_BLC[:, :1], weight[:width], bias[:width])
    k_BLC, v_BLC = F.linear(normed_BLC, weight[width:], bias[width:]).chunk(2, dim=-1)
    q, k, v = (split_heads(part, attention.num_heads) for part in (q_B1C, k_BLC, v_BLC))
    return finish(block, tokens_BLC[:, :1], plain_mix(q, k, v))


def project(block: Any, tokens_BLC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v of a block, (B, N, L, d) each."""
    q, k, v = (split_heads(part_BLC, block.attn.num_heads) for part_BLC in project_tokens(block, tokens_BLC))
    return q, k, v


def answer(block: Any, mixed_BNLd: Tensor) -> Tensor:
    """What the attention of a block adds to its tokens: (B, L, C)."""
    return block.ls_1(block.attn.out_proj(merge_heads(mixed_BNLd)))


def finish(block: Any, tokens_BLC: Tensor, mixed_BNLd: Tensor) -> Tensor:
    """The rest of a block after the values were mixed: residual, then feed-forward part."""
    tokens_BLC = tokens_BLC + answer(block, mixed_BNLd)
    return tokens_BLC + block.ls_2(block.mlp(block.ln_2(tokens_BLC)))


def project_tokens(block: Any, tokens_BLC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a pre-norm block's attention, (B, L, C) each, all heads side by side."""
    attention = block.attn
    qkv_BLC3 = F.linear(block.ln_1(tokens_BLC), attention.in_proj_weight, attention.in_proj_bias)
    q_BLC, k_BLC, v_BLC = qkv_BLC3.chunk(3, dim=-1)
    return q_BLC, k_BLC, v_BLC


def split_heads(tokens_BLC: Tensor, heads: int) -> Tensor:
    """(B, L, N d) to (B, N, L, d)."""
    return tokens_BLC.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(tokens_BNLd: Tensor) -> Tensor:
    """(B, N, L, d) to (B, L, N d)."""
    return tokens_BNLd.transpose(1, 2).flatten(2)


def _attend(q_BNLd: Tensor, k_BNLd: Tensor, v_BNLd: Tensor, mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(q_BNLd, k_BNLd, v_BNLd, attn_mask=mask, scale=1 / sqrt(q_BNLd.shape[-1]))
