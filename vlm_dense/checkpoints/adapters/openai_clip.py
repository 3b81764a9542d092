"""OpenAI's CLIP to open_clip: the same names, and a few buffers too many."""

from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.openai_archive import NUMBERS

MASK = 'attn_mask'  # the causal mask, which every model makes for itself


def is_openai_clip(weights: Mapping[str, Tensor]) -> bool:
    """Whether the three numbers are there that OpenAI's models carry as buffers."""
    return all(name in weights for name in NUMBERS)


def from_openai_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's weights without the buffers."""
    return {name: weight for name, weight in weights.items() if name not in NUMBERS and name.rsplit('.', 1)[-1] != MASK}
