"""Frozen weights and checkpoints: what is in them, what loads, and what is refused."""

from pathlib import Path

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from vlm_dense.checkpoints import load_state
from vlm_dense.errors import CheckpointError
from vlm_dense.vlms import ImageNetTower, TowerBackbone, TowerTail

POLICIES = ['none', 'blocks:2', 'query_value', 'positions']


class Model(nn.Module):
    """A backbone below another name, with something that learns."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(2, 2)


def shaken(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def maps(model: Model) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return model.eval().backbone(torch.randn(1, 3, 48, 64, generator=generator))[-1]


@pytest.fixture(params=[*POLICIES, 'additions'])
def build(request: pytest.FixtureRequest, tower_of):
    settings = {'tune': request.param}
    if request.param == 'additions':
        settings = {'adapters': {'layers': ['value', 'mlp']}, 'prompts': {'tokens': 2}}
    return lambda **more: Model(TowerBackbone(tower_of('vit'), **{**settings, **more}))


def test_round_trip_without_frozen_weights(build, tmp_path: Path) -> None:
    model = shaken(build())
    state = model.state_dict()
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(state) == learned | {'backbone.tower_sha256'}
    assert set(get_state_dict(model)) == set(state)
    save_file({name: weight.contiguous() for name, weight in state.items()}, tmp_path / 'weights.safetensors')
    again = build()
    assert load_state(again, tmp_path / 'weights.safetensors', strict=True).is_complete
    assert torch.equal(maps(again), maps(model))
    mmengines = build()
    load_state_dict(mmengines, state, strict=True)
    assert torch.equal(maps(mmengines), maps(model))


def test_round_trip_with_frozen_weights(build, tower_of) -> None:
    """As older checkpoints are, and exports that say everything; the names are the tower's own."""
    model = shaken(build(in_checkpoint=True))
    state = model.state_dict()
    plain = set(tower_of('vit').state_dict())
    ours = {name.removeprefix('backbone.tower.') for name in state} - {'head.weight', 'head.bias'}
    assert plain <= ours
    assert all(name.endswith(('rows_POC', 'up_POR', 'down_PRC', 'tokens_NPC')) for name in ours - plain)
    for again in (build(), build(in_checkpoint=True)):
        again.load_state_dict(state, strict=True)
        assert torch.equal(maps(again), maps(model))


def test_half_precision_checkpoint_of_the_same_tower(build) -> None:
    model = build(in_checkpoint=True)
    again = build()
    again.load_state_dict({n: w.half() if w.is_floating_point() else w for n, w in model.state_dict().items()})
    torch.testing.assert_close(maps(again), maps(model), rtol=0, atol=1e-2)


def test_another_tower_is_refused(build) -> None:
    model, other = build(), build()
    with torch.no_grad():
        other.backbone.tower.visual.conv1.weight[0, 0, 0, 0] += 1e-3
    with pytest.raises(CheckpointError, match='trained with other frozen weights than TowerBackbone has here'):
        other.load_state_dict(model.state_dict())
    with pytest.raises(CheckpointError, match='trained with other frozen weights'):
        load_state_dict(other, model.state_dict())


def test_weights_of_another_tower_are_refused_or_taken(build) -> None:
    model = build(in_checkpoint=True)
    with torch.no_grad():
        model.backbone.tower.visual.conv1.weight.add_(1)
    state = model.state_dict()
    with pytest.raises(CheckpointError, match=r"another 'visual.conv1.weight' .* set in_checkpoint=True"):
        build().load_state_dict(state)
    again = build(in_checkpoint=True)
    again.load_state_dict(state, strict=True)
    assert torch.equal(maps(again), maps(model))


def test_averaged_model(build) -> None:
    model = build()
    averaged = ExponentialMovingAverage(model, momentum=0.5)
    averaged.update_parameters(shaken(model))
    state = averaged.state_dict()
    assert {name.removeprefix('module.') for name in state if name != 'steps'} == set(model.state_dict())
    again = build()
    again.load_state_dict({n.removeprefix('module.'): w for n, w in state.items() if n != 'steps'}, strict=True)
    assert torch.equal(maps(again), maps(averaged.module))


@pytest.mark.parametrize('policy', ['all', 'query_value', 'positions'])
def test_a_checkpoint_of_a_frozen_tower_starts_one_that_learns(tower_of, policy: str) -> None:
    frozen = Model(TowerBackbone(tower_of('vit')))
    model = Model(TowerBackbone(tower_of('vit'), tune=policy))
    left = model.load_state_dict(frozen.state_dict(), strict=False)
    assert all(name.endswith('rows_POC') for name in left.missing_keys)
    assert left.unexpected_keys == []
    torch.testing.assert_close(maps(model), maps(frozen), rtol=0, atol=1e-6)


def test_freezing_later_changes_nothing(build) -> None:
    model = build()
    names = set(model.state_dict())
    assert set(model.requires_grad_(False).state_dict()) == names


def test_statistics_go_with_their_norms(tower_of) -> None:
    state = TowerBackbone(tower_of('resnet'), tune='stages:1').state_dict()
    assert not any('running' in name or 'bn' in name for name in state)
    state = TowerBackbone(tower_of('resnet'), tune='all').state_dict()
    assert 'tower.visual.bn1.running_mean' in state
    assert not any('attnpool' in name for name in state)


def test_tail() -> None:
    tail = TowerTail(ImageNetTower())
    assert set(tail.state_dict()) == {'layers_sha256'}
    TowerTail(ImageNetTower()).load_state_dict(tail.state_dict(), strict=True)
    old = TowerTail(ImageNetTower(), in_checkpoint=True).state_dict()
    assert len(old) == 6
    tail.load_state_dict(old, strict=True)
    with torch.no_grad():
        tail.layers[0].weight.add_(1)
    with pytest.raises(CheckpointError, match='other frozen weights than TowerTail has here'):
        TowerTail(ImageNetTower()).load_state_dict(tail.state_dict())
