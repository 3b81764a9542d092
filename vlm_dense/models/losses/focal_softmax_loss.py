"""Softmax cross entropy that easy regions weigh less in.

Shapes: N regions, K columns (words, and the background where the classifier has one).

With ``p_t`` the softmax probability of a region's own column, ``loss = -(1 - p_t)^gamma * log(p_t)``: the focal loss of
RetinaNet (arXiv:1708.02002), Eq. 4, on a softmax instead of sigmoids. RegionCLIP (arXiv:2112.09106), Sec. 4, fine-tunes
on base words with ``gamma = 0.5``; the background's weight comes in through ``weight``
(`vlm_dense.models.heads.bbox.ov_bbox_head.OVBBoxHead`).
"""

from typing import Any, Literal

import torch
from mmdet.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS

Reduction = Literal['none', 'mean', 'sum']


@MODELS.register_module()
class FocalSoftmaxLoss(nn.Module):
    """Cross entropy times ``(1 - p_t)^gamma``, with the call of mmdet's classification losses.

    Args:
        gamma: Exponent of the focal factor; 0 is plain cross entropy.
        loss_weight: Factor on the loss.
        reduction: 'none', 'mean' or 'sum'.
        ignore_index: Label of regions without a loss.

    Raises:
        ConfigError: If gamma is negative.
    """

    def __init__(
        self, gamma: float = 0.5, loss_weight: float = 1.0, reduction: Reduction = 'mean', ignore_index: int = -100
    ) -> None:
        super().__init__()
        if gamma < 0:
            raise ConfigError(f'FocalSoftmaxLoss: gamma={gamma} would favour easy regions; set 0 or more.')
        self.gamma = gamma
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.ignore_index = ignore_index

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: Reduction | None = None,
        **_: Any,
    ) -> Tensor:
        """The loss, taken in float32.

        Args:
            cls_score: Logits (N, K); N may be 0. A column of -inf takes no part.
            label: Own column of every region (N,).
            weight: Of every region (N,), or None for 1.
            avg_factor: What the sum is divided by; None divides by N.
            reduction_override: Stands in for ``reduction``.
        """
        reduction = reduction_override or self.reduction
        entropy_N = cross_entropy(cls_score.float(), label, reduction='none', ignore_index=self.ignore_index)
        # 1 - p_t from the entropy itself: exact where p_t rounds to 1. At 0 a root has no slope, hence the clamp.
        missing_N = (-torch.expm1(-entropy_N)).clamp_min(torch.finfo(entropy_N.dtype).tiny)
        loss_N = missing_N.pow(self.gamma) * entropy_N
        if reduction == 'mean' and avg_factor is None:
            avg_factor = max(len(loss_N), 1)
        return self.loss_weight * weight_reduce_loss(loss_N, weight, reduction, avg_factor)
