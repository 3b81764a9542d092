"""CLIP as it lies inside a segmentor's checkpoint, under its own names again.

ZegFormer (arXiv:2112.07910), ZSSeg (arXiv:2112.14757), OVSeg (arXiv:2210.04150), whose picture half was tuned on masked
crops and may hold mask tokens (``visual.mask_embedding``), and FC-CLIP (arXiv:2308.02487) keep the whole model in their
files, with the names of OpenAI's CLIP or of open_clip.
"""

from collections.abc import Mapping

from torch import Tensor

PLACES = ('clip_adapter.clip_model.', 'sem_seg_head.predictor.clip_model.', 'backbone.clip_model.')
VISUAL = 'visual.'


def has_inner_clip(weights: Mapping[str, Tensor]) -> bool:
    """Whether there is a CLIP in one of the places."""
    return _place(weights) is not None


def from_inner_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the CLIP alone; with two of them in a file, that which names regions."""
    place = _place(weights) or ''
    return {name.removeprefix(place): weight for name, weight in weights.items() if name.startswith(place)}


def _place(weights: Mapping[str, Tensor]) -> str | None:
    return next((place for place in PLACES if any(name.startswith(place + VISUAL) for name in weights)), None)
