"""Putting weights of any CLIP layout into an open_clip model, all of them or with an error."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from mmengine.logging import print_log
from torch import Tensor, nn

from vlm_dense.checkpoints.adapters import to_open_clip
from vlm_dense.checkpoints.beside import json_beside
from vlm_dense.checkpoints.coverage import Coverage, check_coverage, weights_of
from vlm_dense.checkpoints.quick_gelu import HF_CONFIG, HF_TYPES, clip_sections
from vlm_dense.checkpoints.reading import read_checkpoint
from vlm_dense.errors import CheckpointError

Half = Literal['both', 'text', 'image']
BIG_VISION = ('.npz', '.npy')
IMAGE = 'visual.'
NEITHER = 'logit_'  # scale and bias of the scores belong to neither half
TEXT_POSITIONS = ('positional_embedding', 'text.positional_embedding')
HEAD_WIDTH = 64  # open_clip's defaults
TEXT_HEADS = 8
HF_HEADS = {'text': 8, 'vision': 12}  # defaults of transformers, which its files leave out


def fill_open_clip(model: nn.Module, path: Path, half: Half = 'both', optional: Collection[str] = ()) -> Coverage:
    """Load weights into an open_clip model: open_clip's, OpenAI's or transformers' layout.

    Args:
        model: Filled in place, in float32.
        path: File of weights.
        half: Which half has to be filled; with one, the other half may be missing from the file.
        optional: Weights that keep their values where the file lacks them.

    Returns:
        What became of each weight.

    Raises:
        CheckpointError: If a weight of the half is missing or has another shape, or one belongs to no part of the
            model.
    """
    if path.suffix in BIG_VISION:
        import open_clip

        open_clip.load_checkpoint(model, str(path))  # plain arrays, checked name by name there
        names = tuple(model.state_dict())
        return Coverage(names, (), (), ())
    weights = _as_open_clip_expects(model, to_open_clip(weights_of(read_checkpoint(path, 'cpu'))))
    coverage = check_coverage(model.state_dict(), weights, f"'{path}'")
    missing = (name for name in coverage.missing if name not in optional)
    needed = replace(coverage, missing=tuple(name for name in missing if _is_in(name, half)))
    if not needed.is_complete or needed.unexpected:
        raise CheckpointError(f'{needed}.')
    model.load_state_dict(weights, strict=False)
    print_log(f"'{path}': {coverage}", logger='current', level=logging.INFO)
    return coverage


def check_heads(path: Path, config: Mapping[str, Any]) -> None:
    """Compare the numbers of attention heads, which no shape shows, with transformers' config beside the weights.

    Raises:
        CheckpointError: If they differ: the model would run and be wrong.
    """
    beside = json_beside(path, HF_CONFIG) or {}
    if beside.get('model_type') not in HF_TYPES:
        return
    vision, text = config.get('vision_cfg', {}), config.get('text_cfg', {})
    ours = {
        'text': text.get('heads', TEXT_HEADS),
        'vision': vision.get('width', 768) // vision.get('head_width', HEAD_WIDTH),
    }
    for kind, section in clip_sections(beside).items():
        theirs = section.get('num_attention_heads', HF_HEADS[kind])
        if theirs != ours[kind]:
            raise CheckpointError(
                f"the weights' {kind} half has {theirs} heads ('{path.parent / HF_CONFIG}'), this one {ours[kind]}."
            )


def _is_in(name: str, half: Half) -> bool:
    if half == 'both':
        return True
    return not name.startswith(NEITHER) and name.startswith(IMAGE) == (half == 'image')


def _as_open_clip_expects(model: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What open_clip itself does to weights of its older versions and of other picture sizes."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    weights = dict(convert_state_dict(model, weights))
    if 'positional_embedding' in weights and not hasattr(model, 'positional_embedding'):
        weights = dict(convert_to_custom_text_state_dict(weights))
    own = model.state_dict()
    for name in ('logit_scale', 'logit_bias'):
        if name in weights and name in own:
            weights[name] = weights[name].reshape(own[name].shape)
    if 'logit_bias' in own and 'logit_bias' not in weights:
        weights['logit_bias'] = own['logit_bias'].new_zeros(own['logit_bias'].shape)
    weights = {n: w for n, w in weights.items() if n in own or not n.endswith('.position_ids')}
    before = {name: tuple(weight.shape) for name, weight in weights.items()}
    resize_pos_embed(weights, model)
    if all(w.shape[1:] == own[n].shape[1:] for n, w in weights.items() if n in own and n in TEXT_POSITIONS):
        resize_text_pos_embed(weights, model)
    for name, weight in weights.items():
        if tuple(weight.shape) != before[name]:
            text = (
                f"'{name}' was resized from {before[name]} to {tuple(weight.shape)}: the weights are for another size."
            )
            print_log(text, logger='current', level=logging.WARNING)
    return weights
