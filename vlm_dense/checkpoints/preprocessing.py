"""What a picture has to go through before an image tower, as said by the weights that were trained so."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from vlm_dense.checkpoints.beside import json_beside, parse_object
from vlm_dense.checkpoints.reading import SAFETENSORS, safetensors_metadata
from vlm_dense.errors import CheckpointError

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
KEYS = ('mean', 'std', 'size', 'interpolation', 'resize_mode')
RESIZE_MODES = ('shortest', 'longest', 'squash')
PIL_RESAMPLING = {0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box', 5: 'hamming'}


@dataclass(frozen=True)
class Preprocessing:
    """How pictures are resized and normalised.

    Attributes:
        mean: Per channel, RGB, on the 0..1 scale.
        std: As ``mean``.
        size: Side of the square picture in pixels; None means that of the architecture.
        interpolation: 'bicubic', 'bilinear', ...
        resize_mode: 'shortest' (shorter side to ``size``, then a centre crop), 'longest' (longer side, then padding)
            or 'squash' (both sides).
        origin: Where this was found; two equal settings may have different ones.
    """

    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    size: int | None = None
    interpolation: str = 'bicubic'
    resize_mode: str = 'shortest'
    origin: str = field(default="OpenAI's CLIP", compare=False)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], origin: str) -> 'Preprocessing':
        """From open_clip's names; what is missing is as in OpenAI's CLIP.

        Raises:
            CheckpointError: If a value makes no sense.
        """
        known = {key: values[key] for key in KEYS if values.get(key) is not None}
        try:
            for key in {'mean', 'std'} & set(known):
                red, green, blue = known[key]
                known[key] = (float(red), float(green), float(blue))
            if 'size' in known:
                known['size'] = _side(known['size'])
        except (TypeError, ValueError, KeyError) as error:
            raise CheckpointError(f'{origin} gives no usable preprocessing: {values}. Correct it.') from error
        if known.get('resize_mode', RESIZE_MODES[0]) not in RESIZE_MODES:
            raise CheckpointError(
                f"{origin}: resize_mode '{known['resize_mode']}' is none of {RESIZE_MODES}. Correct it."
            )
        return cls(**known, origin=origin)

    def as_settings(self) -> dict[str, Any]:
        """The form that open_clip's ``force_preprocess_cfg`` takes."""
        settings = {key: getattr(self, key) for key in KEYS}
        return settings if self.size else {key: value for key, value in settings.items() if key != 'size'}


def preprocessing_beside(path: Path) -> Preprocessing | None:
    """What the file's own metadata, or ``open_clip_config.json`` or ``preprocessor_config.json`` beside it, say."""
    if path.suffix == SAFETENSORS:
        text = safetensors_metadata(path).get('preprocessing')
        if text:
            return Preprocessing.from_mapping(
                parse_object(text, f"the metadata of '{path}'"), f"the metadata of '{path}'"
            )
    readers = {'open_clip_config.json': _of_open_clip, 'preprocessor_config.json': _of_transformers}
    for name, read in readers.items():
        config = json_beside(path, name)
        values = read(config) if config else None
        if values:
            return Preprocessing.from_mapping(values, f"'{path.parent / name}'")
    return None


def default_preprocessing(name: str, path: Path) -> Preprocessing:
    """For a plain file that says nothing: what all of open_clip's tags of this architecture share, else OpenAI's.

    The log says which.
    """
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    shared = {
        Preprocessing.from_mapping(open_clip.get_pretrained_cfg(name, tag), f"open_clip's '{name}'") for tag in tags
    }
    chosen = shared.pop() if len(shared) == 1 else Preprocessing()
    print_log(
        f"'{path}' says nothing about preprocessing, and there is no open_clip_config.json or preprocessor_config.json "
        f'beside it: taking that of {chosen.origin} (mean {chosen.mean}, std {chosen.std}, {chosen.interpolation}, '
        f'{chosen.resize_mode}).',
        logger='current',
        level=logging.WARNING,
    )
    return chosen


def _of_open_clip(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(config.get('preprocess_cfg') or {})


def _of_transformers(config: Mapping[str, Any]) -> Mapping[str, Any]:
    size = config.get('size')
    keeps_shape = not isinstance(size, Mapping) or 'shortest_edge' in size
    # Their scale is a factor on 0..255 and may be switched off, as may the mean.
    scale = 255 * config.get('rescale_factor', 1 / 255) if config.get('do_rescale', True) else 255.0
    normalises = config.get('do_normalize', True)
    mean = config.get('image_mean', OPENAI_MEAN) if normalises else (0.0, 0.0, 0.0)
    std = config.get('image_std', OPENAI_STD) if normalises else (1.0, 1.0, 1.0)
    crops = config.get('do_center_crop', keeps_shape)
    return {
        'mean': [value / scale for value in mean],
        'std': [value / scale for value in std],
        'size': config.get('crop_size', size) if crops else size,
        'interpolation': PIL_RESAMPLING.get(config.get('resample', 3)),
        'resize_mode': 'shortest' if keeps_shape else 'squash',
    }


def _side(size: Any) -> int:
    if isinstance(size, Mapping):
        size = size['shortest_edge'] if 'shortest_edge' in size else (size['height'], size['width'])
    if isinstance(size, list | tuple):
        height, width = size
        if height != width:
            raise ValueError('only squares')
        size = height
    return int(size)
