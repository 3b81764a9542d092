"""Cells of a picture and tokens of a text that attend to each other by the same scores.

Shapes: B pictures with a text each, N cells, L tokens, C image width, T text width, E embedding width, H heads of
d = E / H, M = H * L.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.models.fusion.clamping import BOUND


class BidirectionalAttention(nn.Module):
    """X-MHA of GLIP (arXiv:2112.03857), Sec. 3.2, with the weights of mmdet's ``BiMultiHeadAttention``.

    With cells V, tokens T, keys K = T Wk + bk and parts P = softmax(scores), products are taken in the order that
    spares the cells the width of the embedding: scores (V Wq + bq) K' as V (Wq K') + bq K'; what cells read,
    P (T Wt + bt) Wo, as P ((T Wt + bt) Wo); and what tokens read, P' (V Wv + bv), as (P' V) Wv + bv, since a token's
    parts sum to 1. The three matrices that GLIP applies to every cell, (C, E) twice and (E, C), are applied to tokens
    instead. The results are equal up to rounding, at 90 tokens with a quarter of the operations.

    Scores beyond +-50,000 count as that. GLIP also cuts a token's scores 50,000 below their maximum; their exponential
    is 0 long before, so that this changes nothing and is left out.

    Args:
        image_width: C.
        text_width: T.
        embed_width: E.
        num_heads: H.
        dropout: Rate at which attention is dropped in training, in both directions independently.
    """

    def __init__(self, image_width: int, text_width: int, embed_width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (embed_width // num_heads) ** -0.5
        self.dropout = dropout
        self.v_proj = nn.Linear(image_width, embed_width)
        self.l_proj = nn.Linear(text_width, embed_width)
        self.values_v_proj = nn.Linear(image_width, embed_width)
        self.values_l_proj = nn.Linear(text_width, embed_width)
        self.out_v_proj = nn.Linear(embed_width, image_width)
        self.out_l_proj = nn.Linear(embed_width, text_width)
        self.apply(_start)

    def forward(self, image_BNC: Tensor, text_BLT: Tensor, is_token_BL: Tensor | None) -> tuple[Tensor, Tensor]:
        """What every cell reads from the tokens (B, N, C), and every token from the cells (B, L, T).

        Args:
            image_BNC: Cells.
            text_BLT: Tokens.
            is_token_BL: False where a text is padded; nobody reads there. None: no text is.
        """
        scores_BNM = self._scores(image_BNC, text_BLT)
        return self._read_text(scores_BNM, text_BLT, is_token_BL), self._read_image(scores_BNM, image_BNC)

    def _scores(self, image_BNC: Tensor, text_BLT: Tensor) -> Tensor:
        key_BHLd = self._heads(self.l_proj(text_BLT)) * self.scale
        weight_HdC = self.v_proj.weight.unflatten(0, (self.num_heads, -1))
        bias_Hd1 = self.v_proj.bias.view(self.num_heads, -1, 1)
        key_BMC = (key_BHLd @ weight_HdC).flatten(1, 2)
        bias_B1M = (key_BHLd @ bias_Hd1).flatten(1)[:, None]
        return torch.baddbmm(bias_B1M, image_BNC, key_BMC.transpose(1, 2)).clamp_(-BOUND, BOUND)

    def _read_text(self, scores_BNM: Tensor, text_BLT: Tensor, is_token_BL: Tensor | None) -> Tensor:
        scores_BNHL = scores_BNM.unflatten(2, (self.num_heads, -1))
        if is_token_BL is not None:
            scores_BNHL = scores_BNHL.masked_fill(~is_token_BL[:, None, None], -torch.inf)
        part_BNM = self._dropped(scores_BNHL.softmax(-1)).flatten(2)
        weight_HdC = self.out_v_proj.weight.unflatten(1, (self.num_heads, -1)).permute(1, 2, 0)
        value_BMC = (self._heads(self.values_l_proj(text_BLT)) @ weight_HdC).flatten(1, 2)
        return torch.baddbmm(self.out_v_proj.bias.to(value_BMC.dtype), part_BNM, value_BMC)

    def _read_image(self, scores_BNM: Tensor, image_BNC: Tensor) -> Tensor:
        part_BMN = self._dropped(softmax_over_cells(scores_BNM, copy=not scores_BNM.is_cpu))
        cells_BHLC = (part_BMN.to(image_BNC.dtype) @ image_BNC).unflatten(1, (self.num_heads, -1))
        weight_HCd = self.values_v_proj.weight.unflatten(0, (self.num_heads, -1)).transpose(1, 2)
        bias_H1d = self.values_v_proj.bias.view(self.num_heads, 1, -1)
        if self.training and self.dropout:
            # Where cells are dropped, the others' parts no longer sum to 1.
            bias_H1d = bias_H1d * part_BMN.sum(2).unflatten(1, (self.num_heads, -1))[..., None]
        read_BHLd = cells_BHLC @ weight_HCd + bias_H1d
        return self.out_l_proj(read_BHLd.transpose(1, 2).flatten(2))

    def _heads(self, states_BLE: Tensor) -> Tensor:
        return states_BLE.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _dropped(self, part: Tensor) -> Tensor:
        return F.dropout(part, self.dropout, self.training)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def softmax_over_cells(scores_BNM: Tensor, copy: bool) -> Tensor:
    """The softmax over N, transposed: (B, M, N).

    Args:
        scores_BNM: Any scores.
        copy: Transpose first. On a GPU softmax over an axis that is not the last takes many times as long: GLIP-L's
            training step on an H100 spent more than half of its time there. On a CPU the copy costs more than it saves.
    """
    if copy:
        return scores_BNM.transpose(1, 2).contiguous().softmax(-1)
    return scores_BNM.softmax(1).transpose(1, 2)
