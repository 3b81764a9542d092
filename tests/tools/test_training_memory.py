"""Counted parameters, activations and operations against small models that can be reckoned by hand."""

import sys
from dataclasses import astuple
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools'))

import training_memory  # noqa: E402
from memory_parts.measuring import Step, measure  # noqa: E402
from memory_parts.tables import GIB, Assumptions, count_weights, memory, seconds  # noqa: E402
from memory_parts.weightless import build_weightless  # noqa: E402
from tiny_runs import in_processes  # noqa: E402
from torchvision.ops import DeformConv2d  # noqa: E402

from vlm_dense.registry import MODELS  # noqa: E402

CHANNELS, SIDE = 8, 16


@MODELS.register_module()
class TwoConvs(nn.Module):
    """3 -> 8 channels, then 8 -> 8 by a convolution or a deformable one."""

    def __init__(self, deformable: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False)
        kind = DeformConv2d if deformable else nn.Conv2d
        self.bbox_head = Head(kind(CHANNELS, CHANNELS, 3, padding=1, bias=False))

    def extract_feat(self, images):
        return self.first(images)


class Head(nn.Module):
    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, maps):
        if isinstance(self.conv, nn.Conv2d):
            return self.conv(maps)
        return self.conv(maps, maps.new_zeros(len(maps), 18, *maps.shape[2:]))


def counted(settings, **how):
    """In a process of its own: torch cannot fork after a backward pass over tensors without data."""
    how = dict(size=(SIDE, SIDE), tokens=4, batch=1, bfloat16=False) | how
    return Step(*in_processes(_counted, settings, how))


def _counted(settings, how):
    return astuple(measure(build_weightless(settings), **how))


def operations(inputs: int) -> int:
    return 2 * SIDE * SIDE * inputs * CHANNELS * 9


@pytest.mark.parametrize('deformable', [False, True])
def test_operations_by_hand(deformable):
    settings = dict(type='vlm_dense.TwoConvs', deformable=deformable)
    assert {parameter.device.type for parameter in build_weightless(settings).parameters()} == {'meta'}
    step = counted(settings, batch=2)
    assert step.forward == 2 * (operations(3) + operations(CHANNELS))
    # The pictures need no gradient.
    assert step.backward == 2 * (operations(3) + 2 * operations(CHANNELS))


def test_activations_by_hand():
    settings = dict(type='vlm_dense.TwoConvs')
    step = counted(settings, batch=2)
    assert step.activations == 4 * 2 * SIDE * SIDE * (3 + CHANNELS)
    assert step.weight_copies == 0
    half = counted(settings, batch=2, bfloat16=True)
    assert half.activations == step.activations / 2
    assert half.weight_copies == 2 * 9 * (3 * CHANNELS + CHANNELS * CHANNELS)


def test_operations_are_those_of_a_real_pass():
    """The same count on tensors with data, for mmdet's Swin, which pads, rolls and attends in windows."""
    from mmdet.models import SwinTransformer
    from torch.utils.flop_counter import FlopCounterMode

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.swin = SwinTransformer(
                embed_dims=12, depths=(2, 2), num_heads=(2, 2), strides=(4, 2), out_indices=(1,)
            )
            self.bbox_head = nn.Identity()

        def extract_feat(self, images):
            return self.swin(images)

    MODELS.register_module(name='WrappedSwin', module=Wrapped, force=True)
    step = counted(dict(type='vlm_dense.WrappedSwin'), size=(60, 100))
    counter = FlopCounterMode(display=False)
    with counter:
        total = sum(out.sum() for out in Wrapped().train().extract_feat(torch.rand(1, 3, 60, 100)))
        forward = counter.get_total_flops()
        total.backward()
    assert (step.forward, step.backward) == (forward, counter.get_total_flops() - forward)


def test_memory_and_time_are_the_formulas():
    model = nn.Sequential(
        nn.Linear(10, 10, bias=False), nn.Bilinear(5, 5, 2, bias=False), nn.Linear(10, 10, bias=False)
    )
    model[1].requires_grad_(False)
    weights = count_weights(model, ('Linear',))
    assert (weights.total, weights.learned, weights.block) == (250, 200, 100)
    step = counted(dict(type='vlm_dense.TwoConvs'))
    assumed = Assumptions(peak=1e9, utilisation=0.5, ema=True)
    alone = memory(weights, step, assumed, 1)
    assert alone['sum'] * GIB == pytest.approx(4 * 250 * 2 + 4 * 200 * 4 + step.activations)
    shared = memory(weights, step, assumed, 4)
    assert shared['sum'] * GIB == pytest.approx(1000 + 200 + 4 * 800 / 4 + 8 * 100 + step.activations)
    assert seconds(step, assumed) == (step.forward + step.backward) / 5e8


def test_the_tool_prints_tables_and_names_what_it_cannot_count(capfd, tmp_path):
    config = tmp_path / 'two.py'
    config.write_text("default_scope = 'mmdet'\nmodel = dict(type='vlm_dense.TwoConvs')\n")
    arguments = [str(config), '--gpus', '2', '--size', '16', '16', '--pictures', '1000', '--accumulate', '3']
    assert in_processes(training_memory.main, arguments) == 0
    printed = capfd.readouterr().out
    assert '| each GPU has all | sharded over 2 |' in printed
    assert '\n| 2 | 6 | 0.00 |' in printed
    config.write_text("default_scope = 'mmdet'\nmodel = dict(type='ResNet', depth=18)\n")
    assert in_processes(training_memory.main, [str(config)]) == 2
    assert 'ResNet is no one-stage detector' in capfd.readouterr().err
