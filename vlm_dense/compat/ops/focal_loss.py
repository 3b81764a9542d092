"""Focal losses, as ``mmcv._ext`` calls them. Source: arXiv:1708.02002, eqs. 4 and 5.

Powers and logarithms are taken of log-sigmoids, so that large logits neither overflow nor need the clamp that
mmcv's kernel applies. A label outside 0..K-1 has no class: the sigmoid form treats it as background with
weight 1, the softmax form ignores it (mmcv's kernel reads memory that is not its own there).
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def sigmoid_focal_loss_forward(
    logits_NK: Tensor, target_N: Tensor, weight_K: Tensor, output_NK: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of every logit into ``output_NK``.

    Args:
        logits_NK: (N, K).
        target_N: (N,) int64 class of each row; K is background.
        weight_K: (K,) factor of each row by its class, or empty.
        output_NK: Filled in place.
        gamma: Power that plays down easy examples.
        alpha: Share of the positive class.
    """
    output_NK.copy_(_sigmoid_loss(logits_NK, target_N, weight_K, gamma, alpha))


def sigmoid_focal_loss_backward(
    logits_NK: Tensor, target_N: Tensor, weight_K: Tensor, grad_NK: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of every logit's loss into ``grad_NK``."""
    with torch.enable_grad():
        leaf = logits_NK.detach().requires_grad_()
        loss = _sigmoid_loss(leaf, target_N, weight_K, gamma, alpha).sum()
    grad_NK.copy_(torch.autograd.grad(loss, leaf)[0])


def _sigmoid_loss(logits_NK: Tensor, target_N: Tensor, weight_K: Tensor, gamma: float, alpha: float) -> Tensor:
    classes = torch.arange(logits_NK.shape[1], device=logits_NK.device)
    is_target = target_N[:, None] == classes
    # p_t of eq. 2 is the sigmoid of the logit, its sign turned for the classes that are not the target.
    signed = torch.where(is_target, logits_NK, -logits_NK)
    easy = torch.exp(gamma * logsigmoid(-signed))
    share = torch.where(is_target, alpha, 1 - alpha).to(logits_NK.dtype)
    loss = -share * easy * logsigmoid(signed)
    return loss * _row_weight(target_N, weight_K)[:, None] if weight_K.numel() else loss


def softmax_focal_loss_forward(
    probability_NK: Tensor, target_N: Tensor, weight_K: Tensor, output_N: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of every row into ``output_N``.

    Args:
        probability_NK: (N, K) softmax probabilities.
        target_N: (N,) int64 class of each row.
        weight_K: (K,) factor of each row by its class, or empty.
        output_N: Filled in place.
        gamma: Power that plays down easy examples.
        alpha: Factor of the whole loss.
    """
    p, counts = _target_probability(probability_NK, target_N)
    loss = -alpha * (1 - p) ** gamma * _log(p)
    output_N.copy_(loss * counts * _row_weight(target_N, weight_K))


def softmax_focal_loss_backward(
    probability_NK: Tensor,
    target_N: Tensor,
    weight_K: Tensor,
    buffer_N: Tensor,
    grad_NK: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative with respect to the LOGITS into ``grad_NK``; ``buffer_N`` is mmcv's scratch."""
    p, counts = _target_probability(probability_NK, target_N)
    slope = -((1 - p) ** gamma)
    if gamma > 0:
        slope = slope + gamma * (1 - p) ** (gamma - 1) * p * _log(p)
    factor = alpha * slope * counts * _row_weight(target_N, weight_K)
    classes = torch.arange(probability_NK.shape[1], device=probability_NK.device)
    is_target = (target_N[:, None] == classes).to(probability_NK.dtype)
    grad_NK.copy_(factor[:, None] * (is_target - probability_NK))


def _target_probability(probability_NK: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's probability of its own class, and whether it has one."""
    counts = (target_N >= 0) & (target_N < probability_NK.shape[1])
    index = torch.where(counts, target_N, 0)
    return probability_NK.gather(1, index[:, None]).squeeze(1), counts


def _row_weight(target_N: Tensor, weight_K: Tensor) -> Tensor:
    if not weight_K.numel():
        return torch.ones_like(target_N, dtype=weight_K.dtype)
    counts = (target_N >= 0) & (target_N < len(weight_K))
    return torch.where(counts, weight_K[torch.where(counts, target_N, 0)], torch.ones_like(weight_K[:1]))


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=torch.finfo(p.dtype).tiny).log()
