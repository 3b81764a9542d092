"""Models of any size without memory for their weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vlm_dense.registry import MODELS


def build_weightless(settings: Any) -> nn.Module:
    """Build a model whose parameters are shapes only, on the meta device; its buffers are real.

    Args:
        settings: The ``model`` of a config.
    """
    with _parameters_on_meta():
        return MODELS.build(settings)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Whole models cannot be built under ``torch.device('meta')``: mmdet's Swin reads numbers from a tensor."""
    register = nn.Module.register_parameter

    def register_on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to('meta'), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    with patch.object(nn.Module, 'register_parameter', register_on_meta):
        yield


def fake_on_cpu(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Let parameters and buffers pretend to lie on the CPU, where autocast takes notice of them."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                with mode:
                    pretended = torch.empty(parameter.shape, dtype=parameter.dtype)
                module._parameters[name] = nn.Parameter(pretended, requires_grad=parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = mode.from_tensor(buffer)
    return model
