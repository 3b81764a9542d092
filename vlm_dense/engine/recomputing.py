"""Activations that are computed again in the backward pass instead of being kept."""

from collections.abc import Sequence
from functools import partial

from mmengine.runner import runner
from torch import nn
from torch.utils.checkpoint import checkpoint

from vlm_dense.errors import ConfigError


def install() -> None:
    """Let the top-level setting ``activation_checkpointing`` of a config mean `recompute`.

    mmengine takes torch's older, reentrant kind, which gives no gradient to a module whose inputs have none: a backbone
    would silently stop to learn.
    """
    runner.turn_on_activation_checkpointing = recompute


def recompute(model: nn.Module, modules: Sequence[str] | str) -> None:
    """Compute what happens inside some modules twice, to keep only their inputs and outputs in between.

    Args:
        model: Changed in place.
        modules: Names of modules, as in ``model.named_modules()``.

    Raises:
        ConfigError: If the model has no module of that name.
    """
    for name in [modules] if isinstance(modules, str) else modules:
        try:
            module = model.get_submodule(name)
        except AttributeError as error:
            raise ConfigError(f"activation_checkpointing: the model has no module '{name}'; correct it.") from error
        module.forward = partial(checkpoint, module.forward, use_reentrant=False)
