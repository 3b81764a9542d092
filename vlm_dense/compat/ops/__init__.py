"""The functions of ``mmcv._ext`` on torchvision's and torch's kernels.

Names, order of arguments and the tensors filled in place are those that ``mmcv.ops`` uses, so that its
modules work unchanged, forward and backward. CPU and CUDA tensors take the same path. An op that is not in
the table can be imported; it raises when it is called.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from vlm_dense.compat.ops.boxes import bbox_overlaps
from vlm_dense.compat.ops.deform_attention import ms_deform_attn_backward, ms_deform_attn_forward
from vlm_dense.compat.ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from vlm_dense.compat.ops.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from vlm_dense.compat.ops.nms import nms, nms_match, softnms
from vlm_dense.compat.ops.roi_align import roi_align_backward, roi_align_forward
from vlm_dense.compat.ops.roi_pool import roi_pool_backward, roi_pool_forward
from vlm_dense.errors import UnsupportedOpError

NOT_COMPILED = 'not compiled (ops served by vlm_dense)'


class Op(NamedTuple):
    """A function of ``mmcv._ext`` and whose kernel does its work."""

    function: Callable[..., Any]
    kernel: str


OPS = {
    'nms': Op(nms, 'torchvision'),
    'softnms': Op(softnms, 'torch'),
    'nms_match': Op(nms_match, 'torch'),
    'bbox_overlaps': Op(bbox_overlaps, 'torch'),
    'roi_align_forward': Op(roi_align_forward, 'torchvision'),
    'roi_align_backward': Op(roi_align_backward, 'torchvision'),
    'roi_pool_forward': Op(roi_pool_forward, 'torch'),
    'roi_pool_backward': Op(roi_pool_backward, 'torchvision'),
    'deform_conv_forward': Op(deform_conv_forward, 'torchvision'),
    'deform_conv_backward_input': Op(deform_conv_backward_input, 'torchvision'),
    'deform_conv_backward_parameters': Op(deform_conv_backward_parameters, 'torchvision'),
    'modulated_deform_conv_forward': Op(modulated_deform_conv_forward, 'torchvision'),
    'modulated_deform_conv_backward': Op(modulated_deform_conv_backward, 'torchvision'),
    'ms_deform_attn_forward': Op(ms_deform_attn_forward, 'torch'),
    'ms_deform_attn_backward': Op(ms_deform_attn_backward, 'torch'),
    'sigmoid_focal_loss_forward': Op(sigmoid_focal_loss_forward, 'torch'),
    'sigmoid_focal_loss_backward': Op(sigmoid_focal_loss_backward, 'torch'),
    'softmax_focal_loss_forward': Op(softmax_focal_loss_forward, 'torch'),
    'softmax_focal_loss_backward': Op(softmax_focal_loss_backward, 'torch'),
    # mmcv's report about the environment asks for these two strings.
    'get_compiler_version': Op(lambda: NOT_COMPILED, 'none'),
    'get_compiling_cuda_version': Op(lambda: NOT_COMPILED, 'none'),
}


def fill(module: ModuleType) -> None:
    """Put every op into ``module``, and a fallback for all other names."""
    for name, op in OPS.items():
        setattr(module, name, op.function)
    module.__doc__ = __doc__
    module.__dict__['__getattr__'] = missing_op


def missing_op(name: str) -> Callable[..., NoReturn]:
    """A stand-in for an op that only mmcv's compiled extension has; raises when called."""
    if name.startswith('__'):
        raise AttributeError(f"module 'mmcv._ext' has no attribute {name!r}")

    def unsupported(*args: Any, **kwargs: Any) -> NoReturn:
        raise UnsupportedOpError(
            f"mmcv's op '{name}' needs mmcv's compiled extension, and the mmcv found here has none. "
            'Replace mmcv-lite by full mmcv, built for this torch and CUDA (see docs/install.md); '
            '`vlm-dense env` lists the ops that work without it.'
        )

    unsupported.__name__ = name
    return unsupported
