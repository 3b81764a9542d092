"""From the names that other projects give to weights to those of open_clip and of this library."""

from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.detectors import to_own_names
from vlm_dense.checkpoints.adapters.detectron2_proposals import to_mmdet_proposals
from vlm_dense.checkpoints.adapters.film_decoder import to_film_segmentor
from vlm_dense.checkpoints.adapters.grounding_release import from_grounding_release, is_grounding_release
from vlm_dense.checkpoints.adapters.hf_clip import from_hf_clip, is_hf_clip
from vlm_dense.checkpoints.adapters.openai_clip import from_openai_clip, is_openai_clip
from vlm_dense.checkpoints.adapters.tuned_tower import from_tuned_tower, is_tuned_tower


def to_open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights open_clip's names: from transformers' CLIP, OpenAI's, a model that tuned a tower, or as they are.

    Raises:
        CheckpointError: If a layout is recognised but lacks pieces that belong together.
    """
    if is_hf_clip(weights):
        return from_hf_clip(weights)
    if is_openai_clip(weights):
        return from_openai_clip(weights)
    if is_tuned_tower(weights):
        return from_tuned_tower(weights)
    return dict(weights)


__all__ = [
    'from_grounding_release',
    'from_hf_clip',
    'from_openai_clip',
    'from_tuned_tower',
    'is_grounding_release',
    'is_hf_clip',
    'is_openai_clip',
    'is_tuned_tower',
    'to_film_segmentor',
    'to_mmdet_proposals',
    'to_open_clip',
    'to_own_names',
]
