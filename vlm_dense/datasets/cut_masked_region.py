"""From a picture and the mask of a region in it to the region as a picture of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.structures.mask import BitmapMasks
from pycocotools import mask as coco_mask

from vlm_dense.checkpoints.preprocessing import OPENAI_MEAN
from vlm_dense.errors import DataError
from vlm_dense.registry import TRANSFORMS
from vlm_dense.vlms.masked_crops import MaskedCrops, Style
from vlm_dense.vlms.tower import pixel_scale


@TRANSFORMS.register_module()
class CutMaskedRegion(BaseTransform):
    """Cut a region out as `MaskedCrops` does it at test, so that a tower learns on what it will be shown.

    Required keys: ``img`` (H, W, 3) in mmcv's order of channels, BGR, and ``segmentation``, a COCO RLE of the same size
    (see `MaskNounDataset`); ``label`` where there is one. Changed: ``img`` (S, S, 3) uint8 and ``img_shape``. Added
    keys: ``gt_masks``, what of the cut is inside, (1, S, S), its box ``gt_bboxes``, and ``gt_bboxes_labels`` (1,) with
    a label.

    Args:
        size: S, the side in pixels of the pictures that the tower takes.
        style: As in `MaskedCrops`; OVSeg (arXiv:2210.04150) takes the default.
        outside: Colour of hidden pixels, 0..255, RGB: the tower's ``mean``; the default is CLIP's.

    Raises:
        ConfigError: If ``style`` is none of its values.
    """

    def __init__(
        self,
        size: int = 224,
        style: Style = 'crop_and_mask',
        outside: Sequence[float] = pixel_scale(OPENAI_MEAN),
    ) -> None:
        self.size, self.outside = size, tuple(outside)
        self.crops = MaskedCrops(style)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Cut the region.

        Raises:
            DataError: If the mask has another size than the picture.
        """
        picture_HW3, rle = results['img'], results['segmentation']
        size = picture_HW3.shape[:2]
        if tuple(rle['size']) != size:
            raise DataError(
                f'{results.get("img_path", "a picture")} has {size[0]} x {size[1]} pixels, its mask {rle["size"][0]} x '
                f'{rle["size"][1]}; give the pictures that the masks were made of.'
            )
        inside_1HW = torch.from_numpy(coco_mask.decode(rle))[None].bool()
        picture_13HW = torch.from_numpy(np.ascontiguousarray(picture_HW3)).permute(2, 0, 1)[None]
        (cut,) = self.crops.cut(picture_13HW, [inside_1HW], self.size, self.outside[::-1])
        results['img'] = cut.crops_N3SS[0].permute(1, 2, 0).contiguous().numpy()
        results['img_shape'] = results['img'].shape[:2]
        results['gt_masks'] = BitmapMasks(cut.inside_NSS.numpy().astype(np.uint8), self.size, self.size)
        results['gt_bboxes'] = results['gt_masks'].get_bboxes('hbox')
        if 'label' in results:
            results['gt_bboxes_labels'] = np.array([results['label']], dtype=np.int64)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, style='{self.crops.style}')"
