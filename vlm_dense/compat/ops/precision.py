"""The kernels below compute in float32 or float64; half precision goes in and out through float32."""

import torch
from torch import Tensor


def to_compute(reference: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Contiguous copies (or the tensors themselves) in the precision that the kernels compute in.

    Args:
        reference: Tensor whose precision decides: float64 stays float64, everything else is float32.
        tensors: Floating tensors of any precision.
    """
    dtype = torch.float64 if reference.dtype == torch.float64 else torch.float32
    return tuple(tensor.to(dtype).contiguous() for tensor in tensors)
