"""Masks of a picture before any word is looked at: a segmentor's, or those of a file."""

import json
from collections import defaultdict
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_dense.errors import DataError, MissingFileError

REMEDY = 'correct --masks.'


class SegmentorMasks:
    """What a segmentor or detector with a mask head proposes.

    Args:
        config: Path of its config.
        checkpoint: Its weights, or None for what the config builds.
        device: Any torch device.
        threshold: Pixels with a probability above it are inside.
    """

    def __init__(self, config: str, checkpoint: str | None, device: str, threshold: float) -> None:
        from vlm_dense.apis import Finder

        self._finder = Finder(config, checkpoint, device)
        self._limit = log(threshold / (1 - threshold))

    def __call__(self, name: str, picture_HW3: np.ndarray) -> Tensor:
        """Boolean masks (N, H, W) without the empty ones."""
        from vlm_dense.vlms.mask_pooling import resize_masks

        logits_Nhw = self._finder.propose(picture_HW3)
        inside_NHW = resize_masks(logits_Nhw[None], picture_HW3.shape[:2])[0] > self._limit
        return inside_NHW[inside_NHW.flatten(1).any(dim=1)]


class StoredMasks:
    """Masks of a file in COCO's layout: ``images`` with ``file_name``, ``annotations`` with ``segmentation``.

    A segmentation is an RLE, compressed or not, or polygons; categories are not looked at.

    Args:
        path: The json file.
        device: Where the masks go.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it has another layout.
    """

    def __init__(self, path: Path, device: str) -> None:
        if not path.is_file():
            raise MissingFileError(f'file of masks {path} does not exist; {REMEDY}')
        self._path, self._device = path, device
        self._found: defaultdict[str, list[Any]] = defaultdict(list)
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            names = {image['id']: image['file_name'] for image in content['images']}
            for one in content['annotations']:
                self._found[names[one['image_id']]].append(one['segmentation'])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f'{path} is no file of masks ({type(error).__name__}: {error}); {REMEDY}') from error

    def __call__(self, name: str, picture_HW3: np.ndarray) -> Tensor:
        """Boolean masks (N, H, W) without the empty ones; N is 0 for pictures that the file does not name.

        Raises:
            DataError: If a mask cannot be read or has another size than the picture.
        """
        from vlm_dense.datasets.annotation_checks.masks import mask_problem

        height, width = picture_HW3.shape[:2]
        masks = []
        for segmentation in self._found.get(name, ()):
            problem = mask_problem(segmentation, (width, height))
            if problem is not None and problem[0] == 'empty-mask':
                continue
            if problem is not None:
                raise DataError(f'{self._path}, a mask of {name}: {problem[1]}; {REMEDY}')
            masks.append(decoded(segmentation, (height, width)))
        stacked_NHW = np.stack(masks) if masks else np.zeros((0, height, width), bool)
        return torch.from_numpy(stacked_NHW).to(self._device)


def decoded(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A COCO segmentation as booleans (H, W)."""
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    elif isinstance(segmentation['counts'], list):
        rle = coco_mask.frPyObjects(segmentation, *size)
    else:
        rle = segmentation
    return coco_mask.decode(rle).astype(bool)


def encoded(inside_HW: Tensor) -> dict[str, Any]:
    """Booleans as COCO's compressed RLE, with text that json can hold."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(inside_HW.cpu().numpy(), np.uint8))
    return {'size': [int(side) for side in rle['size']], 'counts': rle['counts'].decode('ascii')}
