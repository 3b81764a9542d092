"""What box losses compare: the regions that were given a ground truth.

Shapes: N regions of a batch, P of them positive.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vlm_dense.models.heads.grounding.region_tokens import RegionTokens


class PositiveBoxes(NamedTuple):
    """Positive regions whose centre lies in their ground truth.

    Args:
        delta_P4: Encoded predictions.
        anchor_P4: xyxy px, as predictions are decoded from them.
        target_P4: Ground truths, xyxy px.
        centerness_P: Predicted logits.
        centerness_target_P: In [0, 1].
    """

    delta_P4: Tensor
    anchor_P4: Tensor
    target_P4: Tensor
    centerness_P: Tensor
    centerness_target_P: Tensor


def positive_boxes(
    found: RegionTokens, anchor_BN4: Tensor, target_BN4: Tensor, is_positive_BN: Tensor
) -> PositiveBoxes:
    """Pick them, without those that have no centerness: the centre lies outside, or the ground truth has no area.

    Args:
        found: Predictions.
        anchor_BN4: Anchors as they are matched: their last pixel is inside (see ``GroundingHead``).
        target_BN4: Ground truth of every positive region.
        is_positive_BN: Boolean.
    """
    anchor_P4, target_P4 = anchor_BN4[is_positive_BN], target_BN4[is_positive_BN]
    centerness_P = centerness(anchor_P4, target_P4)
    is_defined_P = ~centerness_P.isnan()
    return PositiveBoxes(
        found.delta_BN4[is_positive_BN][is_defined_P],
        anchor_P4[is_defined_P] + anchor_P4.new_tensor([0, 0, 1, 1]),
        target_P4[is_defined_P],
        found.centerness_BN[is_positive_BN][is_defined_P],
        centerness_P[is_defined_P],
    )


def centerness(anchor_P4: Tensor, target_P4: Tensor) -> Tensor:
    """How central the anchors' centres lie in the targets (FCOS, arXiv:1904.01355, eq. 3), (P,); nan if not inside."""
    centre_P2 = (anchor_P4[:, :2] + anchor_P4[:, 2:]) / 2
    before_P2, behind_P2 = centre_P2 - target_P4[:, :2], target_P4[:, 2:] - centre_P2
    share_P2 = torch.minimum(before_P2, behind_P2) / torch.maximum(before_P2, behind_P2)
    return share_P2.prod(1).sqrt()
