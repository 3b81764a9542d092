"""Things, one by one, with masks and boxes.

Shapes: N masks, n results, u masks with a result, K words, r rows, H W pixels of the picture.
"""

import torch
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData
from torch import Tensor

from vlm_dense.models.heads.mask.decoding.strips import Frame, MaskWindow, Strips

MAX_PER_IMAGE = 100
EPSILON = 1e-6  # mmdet's, so that an empty mask has quality 0.


def instances(
    score_NK: Tensor, window: MaskWindow, frame: Frame, is_thing_K: Tensor, max_per_image: int = MAX_PER_IMAGE
) -> InstanceData:
    """The best pairs of mask and word, as mmdet's ``MaskFormerFusionHead.instance_postprocess`` finds them.

    Pairs with stuff are dropped after the best were taken. The score of a result is that of its word times the mean
    probability inside its mask. Source: Mask2Former (arXiv:2112.01527) in detectron2.

    Args:
        score_NK: Probabilities of the words, without a background.
        window: The masks, of the whole input.
        frame: Of the picture.
        is_thing_K: Boolean.
        max_per_image: How many pairs are taken.

    Returns:
        ``scores`` (n,), best first, ``labels`` (n,), ``masks`` (n, H, W) bool and ``bboxes`` (n, 4), the tightest ones,
        xyxy px, n <= ``max_per_image``.
    """
    words = len(is_thing_K)
    score_n, pair_n = score_NK.flatten().topk(min(max_per_image, score_NK.numel()))
    is_thing_n = is_thing_K[pair_n % words]
    score_n, pair_n = score_n[is_thing_n], pair_n[is_thing_n]
    label_n = pair_n % words
    mask_u, place_n = (pair_n // words).unique(return_inverse=True)
    mask_uHW, quality_u = _cut_out(window._replace(mask_Nhw=window.mask_Nhw[mask_u]), frame)
    score_n, order_n = (score_n * quality_u[place_n]).sort(descending=True, stable=True)
    place_n = place_n[order_n]
    return InstanceData(
        bboxes=mask2bbox(mask_uHW)[place_n], labels=label_n[order_n], scores=score_n, masks=mask_uHW[place_n]
    )


def _cut_out(window: MaskWindow, frame: Frame) -> tuple[Tensor, Tensor]:
    """Masks (u, H, W) where logits are above 0, and the mean probability inside them (u,)."""
    like_uhw = window.mask_Nhw
    inside_uHW = torch.zeros(len(like_uhw), *frame.original, dtype=torch.bool, device=like_uhw.device)
    sum_u, area_u = like_uhw.new_zeros(len(like_uhw)), like_uhw.new_zeros(len(like_uhw))
    for rows, _, logit_urW in Strips([window], frame, 'none') if len(like_uhw) else ():
        is_inside_urW = logit_urW > 0
        inside_uHW[:, rows] = is_inside_urW
        sum_u += (logit_urW.sigmoid() * is_inside_urW).flatten(1).sum(dim=1)
        area_u += is_inside_urW.flatten(1).sum(dim=1)
    return inside_uHW, sum_u / (area_u + EPSILON)
