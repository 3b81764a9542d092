"""Batch norm over gloo processes against torch's batch norm on the whole batch."""

import pytest
import torch
from tiny_runs import in_processes
from torch import nn

from vlm_dense.engine import CpuSyncBatchNorm
from vlm_dense.engine.processes import join_cpu_processes
from vlm_dense.engine.sync_norms import sync_norms_for_cpu, sync_plain_norms


def whole_batch(shape):
    generator = torch.Generator().manual_seed(3)
    return 5 + 2 * torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def make_norm(kind, **kwargs):
    norm = kind(4, **kwargs)
    if norm.affine:
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2, 4))
            norm.bias.copy_(torch.linspace(-1, 1, 4))
    return norm


def _in_part(shape, split, kwargs):
    join_cpu_processes('pytorch')
    rank = torch.distributed.get_rank()
    norm = make_norm(CpuSyncBatchNorm, **kwargs)
    batch, pull = (part.split(split)[rank] for part in whole_batch(shape))
    batch = batch.clone().requires_grad_()
    out = norm(batch)
    (out * pull).sum().backward()
    parts = dict(out=out.detach(), grad=batch.grad)
    if norm.affine:
        parts.update(weight=norm.weight.grad, bias=norm.bias.grad)
    gathered = [None, None]
    torch.distributed.all_gather_object(gathered, parts)
    return gathered, dict(norm.state_dict())


@pytest.mark.parametrize('shape', [(6, 4), (6, 4, 5), (6, 4, 3, 5)])
@pytest.mark.parametrize('kwargs', [{}, dict(momentum=None), dict(affine=False, track_running_stats=False)])
def test_equals_the_whole_batch(shape, kwargs):
    # Unequal parts: 4 and 2 samples.
    gathered, state = in_processes(_in_part, shape, [4, 2], kwargs, world_size=2)
    norm = make_norm({2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)], **kwargs)
    batch, pull = whole_batch(shape)
    batch.requires_grad_()
    out = norm(batch)
    (out * pull).sum().backward()
    torch.testing.assert_close(torch.cat([part['out'] for part in gathered]), out.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.cat([part['grad'] for part in gathered]), batch.grad, atol=1e-5, rtol=1e-5)
    if norm.affine:
        torch.testing.assert_close(sum(part['weight'] for part in gathered), norm.weight.grad, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(sum(part['bias'] for part in gathered), norm.bias.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(state, dict(norm.state_dict()), atol=1e-5, rtol=1e-5)


def test_alone_and_in_eval_mode_it_is_torchs():
    batch, _ = whole_batch((6, 4, 3, 5))
    mine, theirs = make_norm(CpuSyncBatchNorm), make_norm(nn.BatchNorm2d)
    assert torch.equal(mine(batch), theirs(batch))
    assert torch.equal(mine.eval()(batch), theirs.eval()(batch))
    assert mine.state_dict().keys() == theirs.state_dict().keys()


def test_replacing_shares_parameters_and_buffers():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.SyncBatchNorm(4, momentum=0.3)), nn.BatchNorm2d(4))
    model[1].eval()
    before = dict(model.named_parameters())
    replaced = sync_norms_for_cpu(model)
    assert isinstance(replaced[1][0], CpuSyncBatchNorm)
    assert replaced[1][0].momentum == 0.3
    assert not replaced[1][0].training
    assert type(replaced[2]) is nn.BatchNorm2d
    assert all(dict(replaced.named_parameters())[name] is parameter for name, parameter in before.items())


def test_only_plain_trained_norms_are_synchronised():
    class ActivatedNorm(nn.BatchNorm2d):
        """As in timm: a norm that does more."""

    frozen = nn.BatchNorm2d(4).requires_grad_(False)
    model = nn.Sequential(nn.BatchNorm2d(4, eps=0.2), frozen, ActivatedNorm(4), nn.Sequential(nn.BatchNorm1d(4)))
    model[0].eval()
    before = dict(model.named_parameters())
    synced = sync_plain_norms(model)
    kinds = [type(synced[0]), type(synced[1]), type(synced[2]), type(synced[3][0])]
    assert kinds == [nn.SyncBatchNorm, nn.BatchNorm2d, ActivatedNorm, nn.SyncBatchNorm]
    assert synced[0].eps == 0.2
    assert not synced[0].training
    assert all(dict(synced.named_parameters())[name] is parameter for name, parameter in before.items())
