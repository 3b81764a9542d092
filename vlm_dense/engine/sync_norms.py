"""Batch norms over all processes, on CPUs too, where torch's own do not work."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`torch.nn.SyncBatchNorm` for CPU tensors: same arguments, same state, same result.

    The sums over all processes are added in a differentiable way, so gradients flow through the statistics
    as they do when one process holds the whole batch.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...) with the statistics of all processes; in eval mode with the running ones."""
        if not self.training or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        # float64: a variance from sums of squares loses what float32 would have kept of it.
        wide = input.double()
        count = torch.full((1,), input.numel() / input.size(1), dtype=wide.dtype)
        sums = all_reduce(torch.cat([wide.sum(axes), (wide * wide).sum(axes), count]))
        channels = input.size(1)
        total = sums[-1].detach()
        mean_C, square_C = sums[:channels] / total, sums[channels:-1] / total
        variance_C = square_C - mean_C * mean_C
        self._track(mean_C, variance_C, total)
        shape = [1, channels] + [1] * (input.dim() - 2)
        normal = (wide - mean_C.view(shape)) * torch.rsqrt(variance_C.view(shape) + self.eps)
        normal = normal.to(input.dtype)
        return normal * self.weight.view(shape) + self.bias.view(shape) if self.affine else normal

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'expected (B, C, ...), got {input.dim()} dimensions')

    @torch.no_grad()
    def _track(self, mean_C: Tensor, variance_C: Tensor, total: Tensor) -> None:
        if not self.track_running_stats:
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased_C = variance_C * (total / (total - 1))
        self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased_C.to(self.running_var.dtype), share)


def sync_norms_for_cpu(model: nn.Module) -> nn.Module:
    """Replace every `SyncBatchNorm` in a model, sharing its parameters and buffers."""
    if isinstance(model, nn.SyncBatchNorm):
        return _same_state(CpuSyncBatchNorm, model)
    for name, child in model.named_children():
        model.add_module(name, sync_norms_for_cpu(child))
    return model


def sync_plain_norms(model: nn.Module) -> nn.Module:
    """Replace torch's plain batch norms by `SyncBatchNorm`, sharing parameters and buffers.

    Unlike torch's and mmengine's converters it leaves alone what is frozen, and subclasses, which do more than
    normalise (timm's also activate, and would lose that).
    """
    if type(model) in PLAIN and any(parameter.requires_grad for parameter in model.parameters()):
        return _same_state(nn.SyncBatchNorm, model)
    for name, child in model.named_children():
        model.add_module(name, sync_plain_norms(child))
    return model


def _same_state(kind: Any, norm: Any) -> nn.Module:
    made = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    made._parameters, made._buffers = norm._parameters, norm._buffers
    return made.train(norm.training)
