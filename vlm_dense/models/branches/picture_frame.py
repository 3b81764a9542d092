"""Boxes between pixels of the batch picture and pixels of the picture on disk.

Pipelines that resize and flip, in any order, can be undone; what was cropped, padded or resized twice cannot, because
the samples do not say where.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vlm_dense.errors import ConfigError

WHOLE = 1.0  # pixels by which a resized picture may differ from its size times the factor


def to_disk(boxes_N4: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """Boxes of a batch picture as boxes of the picture on disk, xyxy px.

    Args:
        boxes_N4: xyxy in pixels of the batch picture.
        meta: The sample's ``ori_shape`` and ``img_shape``, and where they apply ``scale_factor`` (width, height),
            ``flip`` and ``flip_direction``.

    Raises:
        ConfigError: If the pipeline did more than resizing once and flipping.
    """
    _check_whole(meta)
    return _flip(boxes_N4, meta) / _scale_4(boxes_N4, meta)


def from_disk(boxes_N4: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """The inverse of `to_disk`. Arguments and errors as there."""
    _check_whole(meta)
    return _flip(boxes_N4 * _scale_4(boxes_N4, meta), meta)


def is_whole(meta: Mapping[str, Any]) -> bool:
    """Whether the batch picture is the whole picture on disk, resized with the factor that the sample names."""
    factors = meta.get('scale_factor', (1.0, 1.0))[1::-1]
    sides = zip(meta['img_shape'][:2], meta['ori_shape'][:2], factors, strict=True)
    return all(abs(new - old * factor) <= WHOLE for new, old, factor in sides)


def _check_whole(meta: Mapping[str, Any]) -> None:
    if not is_whole(meta):
        raise ConfigError(
            f"picture '{meta.get('img_path')}' of {tuple(meta['ori_shape'][:2])} pixels became "
            f'{tuple(meta["img_shape"][:2])} with scale_factor={meta.get("scale_factor")}: its regions cannot be found '
            "in a bank. Let the pipeline only resize once and flip, pass 'scale_factor' on in PackDetInputs, or set "
            "missing='compute' in the teacher."
        )


def _scale_4(boxes_N4: Tensor, meta: Mapping[str, Any]) -> Tensor:
    return boxes_N4.new_tensor([*meta.get('scale_factor', (1.0, 1.0))[:2]] * 2)


def _flip(boxes_N4: Tensor, meta: Mapping[str, Any]) -> Tensor:
    if not meta.get('flip'):
        return boxes_N4
    height, width = meta['img_shape'][:2]
    x1_N, y1_N, x2_N, y2_N = boxes_N4.unbind(dim=1)
    direction = meta['flip_direction']
    if direction in ('horizontal', 'diagonal'):
        x1_N, x2_N = width - x2_N, width - x1_N
    if direction in ('vertical', 'diagonal'):
        y1_N, y2_N = height - y2_N, height - y1_N
    return torch.stack([x1_N, y1_N, x2_N, y2_N], dim=1)
