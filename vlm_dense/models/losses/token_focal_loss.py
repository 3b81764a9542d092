"""Sigmoid focal loss between regions and the tokens of their pictures' texts.

Shapes: B pictures, N anchors, L tokens, n anchors of a chunk.

GLIP (arXiv:2112.03857), Sec. 3.1, scores every anchor against every token and trains with the focal loss of RetinaNet
(arXiv:1708.02002), Eq. 5, where padding has no loss. With ``p`` the sigmoid of a logit, and ``p_t = p`` where the
anchor belongs to the token and ``1 - p`` elsewhere, it is ``-alpha_t * (1 - p_t)^gamma * log(p_t)``, summed and divided
by the number of positive anchors.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

from vlm_dense.models.losses.precision import wide_type, widened
from vlm_dense.registry import MODELS


@MODELS.register_module()
class TokenFocalLoss(nn.Module):
    """Focal loss of real tokens only, in float32 whatever the logits are.

    The result is that of mmdet's ``FocalLoss`` on the selected logits. Nothing of the logits' size is kept for backward
    but the logits themselves, and nothing but the gradient is made at that size.

    Args:
        alpha: Weight of positives; negatives have one minus it.
        gamma: Exponent of the factor that easy pairs lose.
        loss_weight: Factor on the loss.
        chunk: Logits at a time.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, loss_weight: float = 1.0, chunk: int = 1 << 20) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight
        self.chunk = chunk

    def forward(
        self,
        logits_BNL: Tensor,
        targets_BNL: Tensor,
        is_token_BL: Tensor,
        weight_BN: Tensor | None = None,
        avg_factor: float | Tensor = 1.0,
    ) -> Tensor:
        """The weighted sum over anchors and real tokens, divided.

        Args:
            logits_BNL: Of every anchor and token; where there is no token they may be anything.
            targets_BNL: Above 0 where the anchor belongs to the token.
            is_token_BL: Boolean, False where a text is padded.
            weight_BN: Of every anchor; None is 1.
            avg_factor: What the sum is divided by: the number of positive anchors.
        """
        summed = _TokenFocalSum.apply(
            logits_BNL, targets_BNL > 0, is_token_BL, weight_BN, self.alpha, self.gamma, self.chunk
        )
        return self.loss_weight * summed / avg_factor


class _TokenFocalSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits_BNL: Tensor,
        positive_BNL: Tensor,
        is_token_BL: Tensor,
        weight_BN: Tensor | None,
        alpha: float,
        gamma: float,
        chunk: int,
    ) -> Tensor:
        ctx.save_for_backward(logits_BNL, positive_BNL, is_token_BL, weight_BN)
        ctx.alpha, ctx.gamma, ctx.chunk = alpha, gamma, chunk
        summed = logits_BNL.new_zeros((), dtype=wide_type(logits_BNL))
        for part in _parts(logits_BNL, chunk):
            margin_BnL, factor_BnL = _margins(part, alpha, logits_BNL, positive_BNL, is_token_BL, weight_BN)
            summed -= (factor_BnL * torch.sigmoid(-margin_BnL).pow(gamma) * logsigmoid(margin_BnL)).sum()
        return summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        logits_BNL, positive_BNL, *others = ctx.saved_tensors
        grad_BNL = torch.empty_like(logits_BNL)
        for part in _parts(logits_BNL, ctx.chunk):
            margin_BnL, factor_BnL = _margins(part, ctx.alpha, logits_BNL, positive_BNL, *others)
            p_t, missing = torch.sigmoid(margin_BnL), torch.sigmoid(-margin_BnL)
            slope_BnL = ctx.gamma * p_t * logsigmoid(margin_BnL) - missing
            slope_BnL *= grad * factor_BnL * missing.pow(ctx.gamma)
            grad_BNL[:, part] = torch.where(positive_BNL[:, part], slope_BnL, -slope_BnL)
        return grad_BNL, None, None, None, None, None, None


def _parts(logits_BNL: Tensor, chunk: int) -> list[slice]:
    pictures, anchors, tokens = logits_BNL.shape
    step = max(chunk // max(pictures * tokens, 1), 1)
    return [slice(start, start + step) for start in range(0, anchors, step)]


def _margins(
    part: slice,
    alpha: float,
    logits_BNL: Tensor,
    positive_BNL: Tensor,
    is_token_BL: Tensor,
    weight_BN: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Logits of ``p_t``, 0 where there is no token, and what their losses are multiplied by, of some anchors."""
    logits_BnL, positive_BnL = widened(logits_BNL[:, part]), positive_BNL[:, part]
    margin_BnL = torch.where(positive_BnL, logits_BnL, -logits_BnL).masked_fill(~is_token_BL[:, None], 0)
    factor_BnL = (1 - alpha + (2 * alpha - 1) * positive_BnL.to(margin_BnL)) * is_token_BL[:, None]
    return margin_BnL, factor_BnL if weight_BN is None else factor_BnL * weight_BN[:, part, None]
