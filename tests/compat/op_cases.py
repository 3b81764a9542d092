"""Run every op of mmcv on fixed random inputs, forward and backward, and save what comes out.

``python op_cases.py <file.safetensors>``: whichever ``mmcv`` this Python finds does the work, so that two runs
can be compared (see test_compiled_mmcv.py).
"""

import sys
from functools import partial

import vlm_dense  # isort: skip  # noqa: F401  before mmcv: it serves the ops

import torch
from mmcv import ops
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from safetensors.torch import save_file

ON_GPU_ONLY = ('roi_pool', 'focal', 'attention')  # mmcv compiles no CPU kernel for these


def random(*size):
    return torch.randn(*size, generator=random.generator)


def uniform(*size):
    return torch.rand(*size, generator=random.generator)


def boxes(num, extent=20.0):
    corner, size = uniform(num, 2) * extent, uniform(num, 2) * extent / 2 + 0.5
    return torch.cat([corner, corner + size], dim=1)


def rois(num):
    return torch.cat([torch.arange(num).remainder(2)[:, None].float(), boxes(num) - 2], dim=1)


def with_tail(function, *tail):
    """Autograd functions take positions only: the op with its last arguments fixed."""
    return lambda *tensors: function(*tensors, *tail)


def match(dets):
    groups = ops.nms_match(dets, 0.3)
    return torch.cat(groups), torch.tensor([len(group) for group in groups])


def nms_cases():
    scored = boxes(60), uniform(60)
    first, second = scored[0].split(30)
    for offset in (0, 1):
        yield f'nms_{offset}', partial(ops.nms, iou_threshold=0.3, offset=offset), scored, 0
        for method in ('naive', 'linear', 'gaussian'):
            settings = {'iou_threshold': 0.3, 'min_score': 0.1, 'method': method, 'offset': offset}
            yield f'soft_nms_{method}_{offset}', partial(ops.soft_nms, **settings), scored, 0
        for mode in ('iou', 'iof'):
            for aligned in (True, False):
                overlaps = partial(ops.bbox_overlaps, mode=mode, aligned=aligned, offset=offset)
                yield f'overlaps_{mode}_{aligned}_{offset}', overlaps, (first, second), 0
    yield 'nms_match', match, (torch.cat([scored[0], scored[1][:, None]], dim=1),), 0


def roi_cases():
    inputs = random(2, 3, 10, 12), rois(9)
    for mode in ('avg', 'max'):
        for aligned in (True, False):
            for sampling in (0, 2):
                align = with_tail(ops.roi_align, (3, 2), 0.5, sampling, mode, aligned)
                yield f'roi_align_{mode}_{aligned}_{sampling}', align, inputs, 1
    yield 'roi_pool', with_tail(ops.roi_pool, (3, 2), 0.5), inputs, 1


def deform_cases():
    images, bias = random(2, 4, 7, 8), random(6)
    for geometry in ((1, 1, 1, 1, 1), (2, 1, 1, 2, 1), (1, 2, 2, 1, 2)):
        name = '_'.join(map(str, geometry))
        weight = random(6, 4 // geometry[3], 3, 3)
        plain = torch.nn.functional.conv2d(images, weight, None, *geometry[:4])
        num, field = 9 * geometry[4], plain.shape[2:]
        offset, mask = random(2, 2 * num, *field), uniform(2, num, *field)
        yield f'deform_v1_{name}', with_tail(ops.deform_conv2d, *geometry), (images, offset, weight), 3
        v2 = (images, offset, mask, weight, bias)
        yield f'deform_v2_{name}', with_tail(ops.modulated_deform_conv2d, *geometry), v2, 5
    weight, fields = random(6, 4, 3, 3), random(2, 27, 11, 13)
    glip = (images, fields[:, :18], fields[:, 18:].sigmoid(), weight, bias)
    yield 'deform_v2_larger_field', with_tail(ops.modulated_deform_conv2d, 1, 1), glip, 5


def other_cases():
    logits, target = random(12, 5), torch.arange(12).remainder(5)
    for name in ('sigmoid', 'softmax'):
        loss = getattr(ops, f'{name}_focal_loss')
        yield f'focal_{name}', lambda x, t, f=loss: f(x, t, 2.0, 0.25, None, 'sum'), (logits, target), 1
    shapes, starts = torch.tensor([[4, 5], [2, 3]]), torch.tensor([0, 20])
    value, places, weights = random(2, 26, 2, 4), uniform(2, 6, 2, 2, 3, 2) * 1.2 - 0.1, uniform(2, 6, 2, 2, 3)

    def attend(value, places, weights, shapes, starts):
        return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, places, weights, 64)

    yield 'attention', attend, (value, places, weights, shapes, starts), 3


def run(function, inputs, num_differentiable, device):
    """Outputs of an op, then the gradients of its first inputs for one fixed random direction."""
    inputs = [tensor.to(device) for tensor in inputs]
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs[:num_differentiable]]
    outputs = function(*leaves, *inputs[num_differentiable:])
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    if leaves:
        (outputs[0] * random(*outputs[0].shape).to(device)).sum().backward()
    return [*outputs, *(leaf.grad for leaf in leaves)]


def main(path):
    torch.set_num_threads(1)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    random.generator = torch.Generator().manual_seed(0)
    results = {}
    for cases in (nms_cases, roi_cases, deform_cases, other_cases):
        for name, function, inputs, num_differentiable in cases():
            if device == 'cpu' and name.startswith(ON_GPU_ONLY):
                continue
            for index, tensor in enumerate(run(function, inputs, num_differentiable, device)):
                results[f'{name}.{index}'] = tensor.detach().cpu().contiguous()
    origin = sys.modules['mmcv._ext'].__spec__.origin
    save_file(results, path, metadata={'extension': origin, 'device': device})


if __name__ == '__main__':
    main(sys.argv[1])
