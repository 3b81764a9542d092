"""The detections of one picture, small enough to keep and to send between processes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from vlm_dense.errors import DataError


def image_detections(sample: Mapping, with_masks: bool) -> dict[str, Any]:
    """Boxes, scores, labels and, if asked for, masks of a prediction (as a dictionary).

    Args:
        sample: Has ``pred_instances`` with bboxes (N, 4) xyxy in pixels of the original picture, scores (N,),
            labels (N,) and, for masks, masks (N, H, W) or RLEs.
        with_masks: Whether to encode the masks.

    Returns:
        ``bbox`` xywh (N, 4) and ``scores`` (N,), float64; ``labels`` (N,) int64; ``segm``, N RLEs with text counts.

    Raises:
        DataError: If masks are asked for and the model predicts none.
    """
    instances = sample['pred_instances']
    boxes_N4 = torch.as_tensor(instances['bboxes']).cpu().to(torch.float64, copy=True).reshape(-1, 4)
    boxes_N4[:, 2:] -= boxes_N4[:, :2]
    found: dict[str, Any] = dict(
        bbox=boxes_N4.numpy(),
        scores=torch.as_tensor(instances['scores']).cpu().to(torch.float64, copy=True).numpy(),
        labels=torch.as_tensor(instances['labels']).cpu().to(torch.int64, copy=True).numpy(),
    )
    if with_masks:
        if instances.get('masks') is None:
            raise DataError('masks are to be evaluated but the model predicts none; remove segm or add a mask head.')
        found['segm'] = [encode_mask(mask) for mask in instances['masks']]
        # One list for all: millions of masks are held until they are scored.
        for rle in found['segm']:
            if rle['size'] == found['segm'][0]['size']:
                rle['size'] = found['segm'][0]['size']
    return found


def encode_mask(mask: Any) -> dict:
    """The RLE of a binary mask (H, W), counts as text; an RLE passes through."""
    if isinstance(mask, dict):
        rle = mask
    else:
        mask_HW = np.asarray(torch.as_tensor(mask).cpu(), dtype=np.uint8)
        rle = coco_mask.encode(np.asfortranarray(mask_HW))
    counts = rle['counts']
    return dict(size=list(rle['size']), counts=counts.decode('ascii') if isinstance(counts, bytes) else counts)
