"""How much of a model a checkpoint fills, and loading that refuses a checkpoint of another model."""

import logging
import os
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from vlm_dense.checkpoints.adapters.detectors import to_own_names
from vlm_dense.checkpoints.reading import read_checkpoint
from vlm_dense.errors import CheckpointError

NUM_SHOWN = 5
SECTIONS = ('state_dict', 'model')
WRAPPER_PREFIX = 'module.'  # what DistributedDataParallel puts before every name


@dataclass(frozen=True)
class Coverage:
    """Names of weights, sorted by what became of them.

    Attributes:
        matched: In both, with equal shapes.
        missing: In the model only: they keep their initial values.
        unexpected: In the checkpoint only: not used.
        mismatched: In both, with different shapes: not used, the model keeps its initial values.
        shapes: Of each mismatched weight, the shape in the checkpoint and that in the model.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict, compare=False)

    @property
    def unfilled(self) -> tuple[str, ...]:
        """Weights of the model that keep their initial values."""
        return self.missing + self.mismatched

    @property
    def is_complete(self) -> bool:
        """Whether every weight of the model is filled."""
        return not self.unfilled

    def __str__(self) -> str:
        parts = [f'{len(self.matched)} weights matched']
        for kind in ('missing', 'unexpected', 'mismatched'):
            names = getattr(self, kind)
            if names:
                parts.append(f'{len(names)} {kind} ({some(map(self._with_shapes, names))})')
        return ', '.join(parts)

    def _with_shapes(self, name: str) -> str:
        if name not in self.shapes:
            return name
        found, wanted = ('x'.join(map(str, shape)) or 'a number' for shape in self.shapes[name])
        return f'{name}: {found} instead of {wanted}'


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f' and {len(names) - NUM_SHOWN} more' if len(names) > NUM_SHOWN else ''
    return ', '.join(names[:NUM_SHOWN]) + more


def check_coverage(
    model_state: Mapping[str, Tensor], state_dict: Mapping[str, Tensor], source: str = 'the checkpoint'
) -> Coverage:
    """Compare names and shapes.

    Args:
        model_state: ``model.state_dict()``.
        state_dict: Weights of the checkpoint.
        source: How to call the checkpoint in a message.

    Raises:
        CheckpointError: If not one weight matches.
    """
    shared = [name for name in model_state if name in state_dict]
    mismatched = tuple(name for name in shared if state_dict[name].shape != model_state[name].shape)
    coverage = Coverage(
        matched=tuple(name for name in shared if name not in set(mismatched)),
        missing=tuple(name for name in model_state if name not in state_dict),
        unexpected=tuple(name for name in state_dict if name not in model_state),
        mismatched=mismatched,
        shapes={name: (tuple(state_dict[name].shape), tuple(model_state[name].shape)) for name in mismatched},
    )
    if model_state and not coverage.matched:
        raise CheckpointError(
            f'no weight of {source} fits the model: it holds {some(state_dict) or "no tensors"}, the model has '
            f'{some(model_state)}. Give the checkpoint that belongs to this config.'
        )
    return coverage


def load_state(
    model: nn.Module, path: str | os.PathLike[str], map_location: Any = 'cpu', strict: bool = False
) -> Coverage:
    """Load the weights of a checkpoint into a model, and log what did not fit.

    Args:
        model: Filled in place.
        path: A ``.pth`` or ``.safetensors`` file.
        map_location: As in ``torch.load``.
        strict: Refuse a checkpoint that leaves a weight of the model at its initial value.

    Raises:
        MissingFileError: If there is no such file.
        CheckpointError: If the file cannot be read safely, if nothing in it fits, or, with ``strict``, if
            something is missing or has another shape.
    """
    weights = detector_weights(read_checkpoint(path, map_location), model.state_dict())
    coverage = load_weights(model, weights, f"'{path}'")
    if strict and not coverage.is_complete:
        raise CheckpointError(f"'{path}' does not fill the model: {coverage}. Give the checkpoint of this very config.")
    return coverage


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str = 'the checkpoint') -> Coverage:
    """Put weights into a model, and log what did not fit.

    Args:
        model: Filled in place.
        weights: By name.
        source: How to call the checkpoint in messages.

    Raises:
        CheckpointError: If nothing fits.
    """
    coverage = check_coverage(model.state_dict(), weights, source)
    # Modules may rename old names while they load, so the model gets all names and has the last word on them.
    usable = OrderedDict((name, weight) for name, weight in weights.items() if name not in coverage.mismatched)
    usable._metadata = getattr(weights, '_metadata', OrderedDict())  # type: ignore[attr-defined]
    left = model.load_state_dict(usable, strict=False)
    missing = tuple(name for name in left.missing_keys if name not in coverage.mismatched)
    coverage = replace(coverage, missing=missing, unexpected=tuple(left.unexpected_keys))
    level = logging.INFO if coverage.is_complete and not coverage.unexpected else logging.WARNING
    print_log(f'{source}: {coverage}', logger='current', level=level)
    return coverage


def detector_weights(checkpoint: Mapping[str, Any], own: Collection[str] = ()) -> OrderedDict[str, Tensor]:
    """As `weights_of`, with the names of this library's models where another project's layout is recognised.

    Args:
        checkpoint: What was read.
        own: Names of the weights of the model that is to be filled.
    """
    weights = weights_of(checkpoint)
    renamed = to_own_names(weights, own)
    return weights if renamed is weights else OrderedDict(renamed)


def weights_of(checkpoint: Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """The tensors of a checkpoint: under ``state_dict``, under ``model``, or itself; wrapper prefixes removed."""
    sections = [checkpoint.get(name) for name in SECTIONS]
    state = next((section for section in sections if isinstance(section, Mapping)), checkpoint)
    weights = OrderedDict(
        (name.removeprefix(WRAPPER_PREFIX), weight) for name, weight in state.items() if isinstance(weight, Tensor)
    )
    if hasattr(state, '_metadata'):
        weights._metadata = state._metadata  # type: ignore[attr-defined,union-attr]
    return weights
