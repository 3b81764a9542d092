"""Filling a model from a checkpoint that was read, and refusing one that leaves it half empty."""

import logging
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from vlm_dense.checkpoints.coverage import Coverage, check_coverage, detector_weights, some
from vlm_dense.engine.sharding import parts_of_weights
from vlm_dense.errors import CheckpointError


def fill_model(
    model: nn.Module,
    checkpoint: Mapping[str, Any],
    source: str,
    whole: bool,
    revise_keys: Sequence[tuple[str, str]] = (),
) -> Coverage:
    """Copy the weights of a checkpoint into a model, and log what did not fit.

    Args:
        model: Filled in place.
        checkpoint: What was read from the file.
        source: How to call the checkpoint in messages.
        whole: Refuse a checkpoint that leaves parameters at their initial values, as testing and resuming must.
        revise_keys: Patterns and replacements for the names in the checkpoint.

    Raises:
        CheckpointError: If nothing fits, or with ``whole`` if a parameter is missing or has another shape.
    """
    own = model.state_dict()
    weights: OrderedDict[str, Tensor] = detector_weights(checkpoint, own)
    for pattern, replacement in revise_keys:
        renamed = OrderedDict((re.sub(pattern, replacement, name), weight) for name, weight in weights.items())
        renamed._metadata = getattr(weights, '_metadata', OrderedDict())  # type: ignore[attr-defined]
        weights = renamed
    first = check_coverage(own, weights, source)
    for name in first.mismatched:
        del weights[name]
    weights.update(parts_of_weights(weights, own))
    # Modules may rename old names while they load: what the model then misses is the last word.
    left = model.load_state_dict(weights, strict=False)
    missing = tuple(name for name in left.missing_keys if name not in first.mismatched)
    coverage = Coverage(first.matched, missing, tuple(left.unexpected_keys), first.mismatched)
    parameters = dict(model.named_parameters())
    empty = [name for name in (*coverage.missing, *coverage.mismatched) if name in parameters]
    if whole and empty:
        raise CheckpointError(
            f'{source} leaves {len(empty)} of the {len(parameters)} parameters of the model at their initial values '
            f'({some(empty)}). Give a checkpoint that was trained with this config.'
        )
    level = logging.INFO if coverage.is_complete and not coverage.unexpected else logging.WARNING
    print_log(f'{source}: {coverage}', logger='current', level=level)
    return coverage
