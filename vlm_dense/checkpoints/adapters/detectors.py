"""From the names that other projects give to the weights of detectors to those of this library."""

from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.grounding_release import from_grounding_release, is_grounding_release

LAYOUTS = ((is_grounding_release, from_grounding_release),)


def to_detector(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Give weights this library's names where their layout is recognised; otherwise they come back as they are."""
    for is_of, convert in LAYOUTS:
        if is_of(weights):
            return convert(weights)
    return weights
