"""From the names that other projects give to a whole detector's weights to ours, recognised by those names."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.clip_c4_detector import from_clip_c4_detector, is_clip_c4_detector


def to_own_names(weights: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Rename a foreign layout; any other stays as it is, with the metadata that torch puts on state dicts."""
    renamed = OrderedDict(from_clip_c4_detector(weights) if is_clip_c4_detector(weights) else weights)
    if hasattr(weights, '_metadata') and not is_clip_c4_detector(weights):
        renamed._metadata = weights._metadata  # type: ignore[attr-defined]
    return renamed
