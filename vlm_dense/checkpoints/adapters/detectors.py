"""From other projects' names of the weights of a whole detector or segmentor to ours, recognised by those names."""

from collections.abc import Collection, Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.clip_c4_detector import from_clip_c4_detector, is_clip_c4_detector
from vlm_dense.checkpoints.adapters.dpt_release import from_dpt_release, is_dpt_release
from vlm_dense.checkpoints.adapters.grounding_release import from_grounding_release, is_grounding_release
from vlm_dense.checkpoints.adapters.mask_release import from_mask_release, is_mask_release
from vlm_dense.checkpoints.adapters.side_adapter import from_side_adapter, is_side_adapter

LAYOUTS = (
    (is_grounding_release, from_grounding_release),
    (is_clip_c4_detector, from_clip_c4_detector),
    (is_side_adapter, from_side_adapter),
    (is_dpt_release, from_dpt_release),
)


def to_own_names(weights: Mapping[str, Tensor], own: Collection[str] = ()) -> Mapping[str, Tensor]:
    """Rename the weights of a layout that is recognised; those of any other come back as they are.

    Args:
        weights: By their names.
        own: Names of the weights of the model, where it is known; see `from_mask_release`.
    """
    if is_mask_release(weights):
        return from_mask_release(weights, own)
    for is_of, convert in LAYOUTS:
        if is_of(weights):
            return convert(weights)
    return weights
