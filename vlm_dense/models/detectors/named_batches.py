"""Batches by name: what lets one training step mix data sets with different annotations."""

from collections.abc import Mapping
from typing import Any

from mmengine.structures import BaseDataElement
from torch import Tensor

from vlm_dense.errors import ConfigError

BOXES = 'boxes'  # The ordinary batch: base boxes, trained by the detector's own losses.

Batch = tuple[Tensor, list[BaseDataElement]]


def named_batches(inputs: Any, data_samples: Any, fed_by: Mapping[str, str], unnamed: str = BOXES) -> dict[str, Batch]:
    """Bring the two forms of a batch into one.

    Args:
        inputs: Pictures (B, 3, H, W) of the ordinary batch, or a dict of such tensors by batch name.
        data_samples: Samples in the same form.
        fed_by: For every branch the name of the batch that it needs.
        unnamed: Name of the ordinary batch.

    Raises:
        ConfigError: If pictures and samples name different batches, a branch's batch is missing, or nothing
            reads one of the batches.
    """
    if not isinstance(inputs, Mapping):
        inputs, data_samples = {unnamed: inputs}, {unnamed: data_samples}
    if set(inputs) != set(data_samples):
        raise ConfigError(f'pictures are named {sorted(inputs)} but samples {sorted(data_samples)}; name them alike.')
    for branch, name in fed_by.items():
        if name not in inputs:
            raise ConfigError(
                f"branch '{branch}' is fed by the batch '{name}', but the loader gave {sorted(inputs)}; "
                "set the branch's batch to one of these, or add the data set."
            )
    unread = sorted(set(inputs) - set(fed_by.values()) - {BOXES})
    if unread:
        raise ConfigError(f"no branch reads the batch '{unread[0]}'; name it in a branch, or drop its data set.")
    return {name: (inputs[name], list(data_samples[name])) for name in inputs}
