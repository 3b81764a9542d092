"""Policies: which weights learn, by names written out from the papers; modes; gradients; and messages."""

import re

import pytest
import torch
from torch import nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms import ImageNetTower, TimmTower, TowerBackbone, TowerTail

BLOCKS = 4
PREFIX = 'visual.transformer.resblocks.'


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def learners(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def step(backbone: TowerBackbone) -> None:
    """One step of plain descent."""
    sum(m.square().mean() for m in backbone.train()(torch.randn(2, 3, 64, 96))).backward()
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter -= 0.1 * parameter.grad


def expected(policy: str, names: list[str]) -> set[str]:
    """Of the names below ``visual.``, for a ViT with 4 blocks and a ResNet, read to their last map."""
    unread = ('visual.ln_post', 'visual.proj', 'visual.attnpool')
    read = [name for name in names if not name.startswith(unread)]
    norm = re.compile(r'visual\.(.*\.)?(ln_|bn\d|downsample\.1\.)')
    patterns = {
        'all': '',
        'stages:1': r'visual\.layer[234]\.(?!.*(bn\d|downsample\.1)\.)',
        'blocks:2': r'visual\.transformer\.resblocks\.[23]\.',
        'biases': r'.*bias$',
        'positions': r'visual\.positional_embedding$',
    }
    if policy == 'norms':
        return {name for name in read if norm.match(name)}
    return {name for name in read if re.match(patterns[policy], name)}


CASES = [('vit', policy) for policy in ('all', 'blocks:2', 'norms', 'biases', 'positions')]
CASES += [('resnet', policy) for policy in ('all', 'stages:1', 'norms')]


@pytest.mark.parametrize(('kind', 'policy'), CASES)
def test_what_learns(tower_of, kind: str, policy: str) -> None:
    tower = tower_of(kind)
    names = [name for name, _ in tower.named_parameters()]
    backbone = TowerBackbone(tower, tune=policy)
    assert learners(tower) == expected(policy, names)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    step(backbone)
    assert [name for name, p in tower.named_parameters() if p.requires_grad and p.grad is None] == []
    moved = {name for name, value in tower.state_dict().items() if not torch.equal(before[name], value)}
    parameters = dict(tower.named_parameters())
    assert moved & set(parameters) == learners(tower)
    statistics = moved - set(parameters)
    assert bool(statistics) == (kind == 'resnet' and policy in ('all', 'norms'))


@pytest.mark.parametrize(('kind', 'key'), [('vit', 'in_proj_weight'), ('timmvit', 'qkv.weight')])
def test_queries_and_values_learn_and_keys_do_not(tower_of, kind: str, key: str) -> None:
    plain, tower = tower_of(kind), tower_of(kind)
    images = torch.randn(2, 3, 64, 96)
    backbone = TowerBackbone(tower, tune=['query_value', 'positions'])
    before = [m.clone() for m in backbone(images)]
    for ours, theirs in zip(before, plain.pyramid(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    step(backbone)
    owner, _, name = f'attn.{key}'.rpartition('.')
    for ours, theirs in zip(tower.blocks, plain.blocks, strict=True):
        mine, old = (getattr(b.get_submodule(owner), name).unflatten(0, (3, -1)) for b in (ours, theirs))
        assert torch.equal(mine[1], old[1])
        assert not torch.equal(mine[0], old[0])
        assert not torch.equal(mine[2], old[2])
    assert all(name.endswith(('rows_POC', 'positional_embedding', 'pos_embed')) for name in learners(tower))


def test_separate_projections_learn_in_place(tower_of) -> None:
    tower = tower_of('eva')
    TowerBackbone(tower, tune='query_value')
    projections = {f'visual.trunk.blocks.{n}.attn.{p}_proj.weight' for n in range(BLOCKS) for p in 'qv'}
    assert learners(tower) == projections


def test_blocks_are_counted_from_the_last_that_is_read(tower_of) -> None:
    tower = tower_of('vit')
    TowerBackbone(tower, out_indices=(0, 2), tune='blocks:1')
    assert {name[: len(PREFIX) + 1] for name in learners(tower)} == {f'{PREFIX}2'}


def test_stages_of_other_towers() -> None:
    for tower, first in ((ImageNetTower(), 'trunk.blocks.1.0.'), (TimmTower('test_convnext'), 'trunk.stages.1.')):
        TowerBackbone(tower, tune='stages:1')
        names = [name for name, p in tower.named_parameters() if p.requires_grad]
        assert names[0].startswith(first)
        batch_norms = [m for m in tower.modules() if isinstance(m, nn.BatchNorm2d)]
        assert not any(p.requires_grad for m in batch_norms for p in m.parameters())


def test_tail_learns_as_its_tower_does(tower_of) -> None:
    tail = TowerTail(tower_of('resnet'), stage=2, tune='stages:1').train()
    norms = [m for m in tail.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training or m.weight.requires_grad for m in norms)
    tail(torch.randn(2, 256, 4, 4)).square().mean().backward()
    frozen = {id(p) for m in norms for p in m.parameters()}
    assert all((parameter.grad is None) == (id(parameter) in frozen) for parameter in tail.parameters())


@pytest.mark.parametrize(
    ('kind', 'policy', 'message'),
    [
        ('vit', 'stages:1', r"tune='stages:1': OpenClipTower has no such parts.*'none', 'all', 'blocks:N', 'norms'"),
        ('vit', 'blocks:5', 'no such parts'),
        ('vit', 'blocks', 'no such parts'),
        ('resnet', 'positions', r"It has 'none', 'all', 'stages:N', 'norms'\."),
        ('resnet', 'lora', "tune='lora'"),
        ('resnet', 'stages:4', 'no such parts'),
    ],
)
def test_a_policy_that_finds_nothing(tower_of, kind: str, policy: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TowerBackbone(tower_of(kind), tune=policy)
