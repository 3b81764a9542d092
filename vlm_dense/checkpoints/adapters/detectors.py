"""From the names that other projects give to a whole detector's weights to ours, recognised by those names."""

from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.clip_c4_detector import from_clip_c4_detector, is_clip_c4_detector
from vlm_dense.checkpoints.adapters.grounding_release import from_grounding_release, is_grounding_release

LAYOUTS = (
    (is_grounding_release, from_grounding_release),
    (is_clip_c4_detector, from_clip_c4_detector),
)


def to_own_names(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename the weights of a layout that is recognised; those of any other come back as they are."""
    for is_of, convert in LAYOUTS:
        if is_of(weights):
            return convert(weights)
    return weights
