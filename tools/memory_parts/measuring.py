"""What one training step keeps and computes, counted on tensors without data."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from memory_parts.weightless import fake_on_cpu
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from vlm_dense.errors import ConfigError

TAPS_OF_BACKWARD = 2  # the gradients of the input and of the weights


@dataclass(frozen=True)
class Step:
    """One process's part of a step.

    Attributes:
        activations: Bytes that are kept for the backward pass, without copies of weights.
        weight_copies: Bytes of copies of weights in another type that are kept.
        forward: Floating point operations, a multiplication and an addition being two.
        backward: The same for the backward pass, with what is computed again.
    """

    activations: int
    weight_copies: int
    forward: int
    backward: int


def measure(model: nn.Module, size: tuple[int, int], tokens: int, batch: int, bfloat16: bool) -> Step:
    """Run a one-stage detector's network on tensors without data, forward and backward.

    Args:
        model: As `build_weightless` gives it; its parameters are replaced.
        size: Height and width of the padded pictures.
        tokens: Of each text, where the model reads one.
        batch: Pictures in the step.
        bfloat16: Under autocast, else in float32.

    Raises:
        ConfigError: If the model is none.
    """
    if not hasattr(model, 'extract_feat') or not hasattr(model, 'bbox_head'):
        raise ConfigError(
            f'{type(model).__name__} is no one-stage detector with extract_feat and bbox_head; give the config of one.'
        )
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake_on_cpu(model.train(), mode)
    copies = {id(parameter) for parameter in model.parameters()}
    kept: dict[int, tuple[Any, bool]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(tensor if tensor._base is None else tensor._base) not in copies:
            kept.setdefault(storage._cdata, (storage, _copies_a_weight(tensor)))
        return tensor

    counter = FlopCounterMode(display=False, custom_mapping=_deformable())
    cast = torch.autocast('cpu', torch.bfloat16) if bfloat16 else nullcontext()
    with mode, counter:
        images = torch.empty(batch, 3, *size)
        with cast, saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = _forward(model, images, tokens)
        forward = counter.get_total_flops()
        sum(output.float().sum() for output in _tensors(outputs) if output.requires_grad).backward()
    sizes = [(storage.nbytes(), copy) for storage, copy in kept.values()]
    return Step(
        activations=sum(size for size, copy in sizes if not copy),
        weight_copies=sum(size for size, copy in sizes if copy),
        forward=forward,
        backward=counter.get_total_flops() - forward,
    )


def _forward(model: Any, images_B3HW: Tensor, tokens: int) -> Any:
    maps = model.extract_feat(images_B3HW)
    if not hasattr(model, 'language_model'):
        return model.bbox_head(maps)
    # Past the reading of token ids, which asks for the longest text.
    ids_BL = torch.ones(len(images_B3HW), tokens, dtype=torch.long)
    text = model.language_model.language_backbone.body(ids_BL, ids_BL.bool())
    return model.bbox_head(maps, text._replace(is_token_BL=_FullText()))


class _FullText:
    """The mask of texts without padding, which can be asked without data."""

    def all(self) -> bool:
        return True


def _copies_a_weight(tensor: Tensor) -> bool:
    made_by = (tensor if tensor._base is None else tensor._base).grad_fn
    if made_by is None or 'ToCopy' not in made_by.name():
        return False
    return 'AccumulateGrad' in made_by.next_functions[0][0].name()


def _tensors(nested: Any) -> list[Tensor]:
    if isinstance(nested, Tensor):
        return [nested]
    if isinstance(nested, dict):
        nested = nested.values()
    elif not isinstance(nested, list | tuple):
        return []
    return [tensor for one in nested for tensor in _tensors(one)]


def _deformable() -> dict[Any, Any]:
    """torch does not know what a deformable convolution costs: as much as a plain one, its bilinear reads aside."""
    ops = torch.ops.torchvision

    def forward(image: Any, weight: Any, *rest: Any, out_shape: Any, **kwargs: Any) -> int:
        outputs, channels, height, width = weight
        return 2 * out_shape[0] * out_shape[2] * out_shape[3] * outputs * channels * height * width

    def backward(gradient: Any, image: Any, weight: Any, *rest: Any, **kwargs: Any) -> int:
        return TAPS_OF_BACKWARD * forward(image, weight, out_shape=gradient)

    return {ops.deform_conv2d: forward, ops._deform_conv2d_backward: backward}
