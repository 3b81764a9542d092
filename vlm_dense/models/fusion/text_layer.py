"""A layer of a BERT whose states stay within half precision.

Shapes: B texts, L tokens, T width, H heads of d = T / H.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.models.fusion.clamping import clamped

NORM_EPS = 1e-12


class TextLayer(nn.Module):
    """A post-norm transformer layer (BERT, arXiv:1810.04805) with GLIP's clamps and the keys of transformers' layer.

    Args:
        width: T.
        num_heads: H.
        intermediate: Width of the feed-forward part.
        dropout: Rate for attention and states in training.
    """

    def __init__(self, width: int = 768, num_heads: int = 12, intermediate: int = 3072, dropout: float = 0.1) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {'self': _SelfAttention(width, num_heads, dropout), 'output': _Residual(width, width, dropout)}
        )
        self.intermediate = nn.ModuleDict({'dense': nn.Linear(width, intermediate)})
        self.output = _Residual(intermediate, width, dropout)

    def forward(self, text_BLT: Tensor, is_token_BL: Tensor | None) -> Tensor:
        """Renewed tokens (B, L, T).

        Args:
            text_BLT: Tokens.
            is_token_BL: False where a text is padded; nobody reads there. None: no text is.
        """
        attended_BLT = self.attention['self'](text_BLT, is_token_BL)
        attended_BLT = self.attention['output'](attended_BLT, text_BLT, clamp=False)
        wide_BLW = clamped(F.gelu(clamped(self.intermediate['dense'](attended_BLT))))
        return self.output(wide_BLW, attended_BLT, clamp=True)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, text_BLT: Tensor, is_token_BL: Tensor | None) -> Tensor:
        query_BHLd, key_BHLd, value_BHLd = (
            layer(text_BLT).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        # Not the fused kernel: the clamp stands between the scores and their softmax.
        scores_BHLL = clamped(query_BHLd @ key_BHLd.transpose(2, 3) * query_BHLd.shape[3] ** -0.5)
        if is_token_BL is not None:
            scores_BHLL = scores_BHLL.masked_fill(~is_token_BL[:, None, None], -torch.inf)
        part_BHLL = F.dropout(scores_BHLL.softmax(-1), self.dropout, self.training)
        return (part_BHLL.to(value_BHLd.dtype) @ value_BHLd).transpose(1, 2).flatten(2)


class _Residual(nn.Module):
    def __init__(self, in_width: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(in_width, width)
        self.dropout = nn.Dropout(dropout)
        self.LayerNorm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, states: Tensor, residual_BLT: Tensor, clamp: bool) -> Tensor:
        step_BLT = self.dropout(self.dense(states))
        if not clamp:
            return self.LayerNorm(step_BLT + residual_BLT)
        return clamped(self.LayerNorm(clamped(step_BLT) + residual_BLT))
