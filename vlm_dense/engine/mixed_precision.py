"""Training in bfloat16, which needs no loss scaling and works on CPUs too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from torch import nn

from vlm_dense.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """mmengine's ``OptimWrapper`` with the forward pass under autocast to bfloat16.

    Weights, gradients and optimizer states stay float32. bfloat16 has float32's range, so losses are not scaled;
    mmengine's ``AmpOptimWrapper`` scales them whatever the type, and refuses CPUs. Arguments as ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and no synchronisation of gradients that are still being accumulated."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
