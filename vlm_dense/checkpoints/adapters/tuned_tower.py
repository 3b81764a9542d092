"""A tower that was tuned inside a model, to the names that it has by itself."""

from collections.abc import Mapping

from torch import Tensor

TOWER = 'tower.'
VISUAL = 'visual.'


def is_tuned_tower(weights: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint of `vlm_dense.RegionNamer` holds a tower of open_clip."""
    return any(name.startswith(TOWER + VISUAL) for name in weights)


def from_tuned_tower(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tower's weights under their own names; what else learned beside it, such as a loss's scale, is left out."""
    return {name.removeprefix(TOWER): weight for name, weight in weights.items() if name.startswith(TOWER)}
