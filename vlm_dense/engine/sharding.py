"""Models whose parameters, gradients and optimizer states are shared out among the processes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast
from mmengine.optim import OptimWrapper
from torch import Tensor, distributed, nn
from torch.autograd import Variable
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class ShardedDataParallel(nn.Module):
    """Fully sharded data parallelism: ``model_wrapper_cfg = dict(type='vlm_dense.ShardedDataParallel', blocks=[...])``.

    Every process keeps its part of each parameter, of its gradient and of what the optimizer knows about it; a block is
    put together while it computes. Frozen parameters stay whole everywhere. The results are those of mmengine's
    ``MMDistributedDataParallel``. Built on torch's `fully_shard`, which leaves the parameters' names and the optimizer
    alone. mmengine's ``MMFullyShardedDataParallel`` renames parameters, so that ``paramwise_cfg`` misses them, and each
    process clips gradients by the norm of its own part.

    Until `shard` is called, that is outside of training, every process holds the whole model.

    Args:
        module: The model.
        blocks: Class names of the modules to share out one by one, for example ``['SwinBlock', 'BertLayer']``; only
            modules that are called, not ones whose methods or parameters are used from outside. What is in no
            block is put together for the whole of a step. Without blocks that is all of the model.
        reshard_after_forward: Take a block apart between its forward and its backward pass; False is faster
            and needs memory for all parameters.

    Raises:
        ConfigError: If no module is of a class in ``blocks``.
    """

    def __init__(self, module: nn.Module, blocks: Sequence[str] = (), reshard_after_forward: bool = True) -> None:
        super().__init__()
        self.module: Any = module
        self.reshard_after_forward = reshard_after_forward
        self._blocks = {name: [part for part in module.modules() if type(part).__name__ == name] for name in blocks}
        for name, parts in self._blocks.items():
            if not parts:
                raise ConfigError(f"model_wrapper_cfg.blocks: the model has no module of class '{name}'; correct it.")
        # torch shares out rows, which a scalar does not have.
        self._scalars = [one for one in module.parameters() if one.dim() == 0 and one.requires_grad]

    def shard(self) -> None:
        """Keep this process's part only; the first process's weights are taken."""
        for tensor in self.module.state_dict().values():
            broadcast(tensor)
        for parameter in self.module.parameters():
            if parameter.requires_grad:
                # Rows have to lie one after the other.
                parameter.data = parameter.data.contiguous()
        settings: dict[str, Any] = dict(
            mesh=init_device_mesh(get_device(), (distributed.get_world_size(),)),
            reshard_after_forward=self.reshard_after_forward,
        )
        # What is frozen has neither gradients nor optimizer states, and may be compared with what a file says of it.
        kept_whole = {one for one in self.module.parameters() if not one.requires_grad} | set(self._scalars)
        if kept_whole:
            settings['ignored_params'] = kept_whole
        # Inner blocks first: what stands in a block of its own is no part of the outer one.
        parts = {id(part) for parts in self._blocks.values() for part in parts}
        for part in reversed(list(self.module.modules())):
            if id(part) in parts:
                fully_shard(part, **settings)
        fully_shard(self.module, **settings)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the model's."""
        return self.module(*args, **kwargs)

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Forward, backward and update; the losses."""
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, training=True)
            losses = self.module(**data, mode='loss')
        total, logged = self.module.parse_losses(losses)
        if self._scalars:
            total.register_hook(self._average_after_backward)
        optim_wrapper.update_params(total)
        return logged

    def val_step(self, data: Any) -> Any:
        """As the model's."""
        return self.module.val_step(data)

    def test_step(self, data: Any) -> Any:
        """As the model's."""
        return self.module.test_step(data)

    def _average_after_backward(self, gradient: Tensor) -> None:
        Variable._execution_engine.queue_callback(self._average_scalars)

    def _average_scalars(self) -> None:
        together = torch.stack([torch.zeros_like(one) if one.grad is None else one.grad for one in self._scalars])
        distributed.all_reduce(together)
        for scalar, total in zip(self._scalars, together / distributed.get_world_size(), strict=True):
            scalar.grad = total.clone()


def whole(states: Any) -> Any:
    """Put the tensors of nested states together and copy them to the CPU; all processes have to call this."""
    if isinstance(states, DTensor):
        states = states.full_tensor()
    if isinstance(states, Tensor):
        return states.detach().cpu()
    if isinstance(states, Mapping):
        return type(states)((key, whole(value)) for key, value in states.items())  # type: ignore[call-arg]
    if isinstance(states, list | tuple):
        return type(states)(whole(value) for value in states)
    return states


@contextmanager
def answering_whole(owner: Any) -> Iterator[None]:
    """Let a model or an optimizer wrapper give its states whole, inside the ``with`` block.

    All processes have to enter it; afterwards any one of them may ask.
    """
    states = whole(owner.state_dict())
    owner.state_dict = lambda *args, **kwargs: states
    try:
        yield
    finally:
        del owner.state_dict


def parts_of_weights(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole weights, where a model's own are shared out this process's part of them.

    Args:
        weights: By name, the same in all processes.
        own: The model's state dict.
    """
    return {name: part_like(weight, own.get(name)) for name, weight in weights.items()}


def parts_of_optimizer(states: dict[str, Any], parameters: Iterable[Tensor]) -> dict[str, Any]:
    """An optimizer's whole states, where a parameter is shared out this process's part of them.

    Args:
        states: What the optimizer's ``state_dict`` gave, put together by `whole`.
        parameters: Of the optimizer, in the order of its groups.
    """
    parts = {}
    for index, parameter in enumerate(parameters):
        if index in states['state']:
            parts[index] = {name: part_like(value, parameter) for name, value in states['state'][index].items()}
    return {**states, 'state': parts}


def part_like(tensor: Any, own: Tensor | None) -> Any:
    """A tensor shared out as another of the same shape is; anything else as it is."""
    if not isinstance(own, DTensor) or not isinstance(tensor, Tensor) or tensor.shape != own.shape:
        return tensor
    return distribute_tensor(tensor.to(own.device), own.device_mesh, own.placements)


def is_sharded(model: nn.Module) -> bool:
    """Whether any parameter of a model is shared out."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())
