import logging
from collections import OrderedDict

import pytest
import torch
from mmengine.logging import MMLogger
from safetensors.torch import save_file
from torch import nn

import vlm_dense  # noqa: F401
from vlm_dense.checkpoints import check_coverage, load_state
from vlm_dense.checkpoints.coverage import weights_of
from vlm_dense.errors import CheckpointError


def model(width=4):
    return nn.Sequential(OrderedDict(stem=nn.Linear(3, width), head=nn.Linear(width, 2)))


def shapes(**sizes):
    return {name: torch.empty(size) for name, size in sizes.items()}


def test_four_kinds():
    coverage = check_coverage(shapes(a=(2,), b=(3,), c=(4,)), shapes(a=(2,), b=(5,), d=(1,)))
    assert coverage.matched == ('a',)
    assert coverage.missing == ('c',)
    assert coverage.unexpected == ('d',)
    assert coverage.mismatched == ('b',)
    assert not coverage.is_complete
    assert str(coverage) == '1 weights matched, 1 missing (c), 1 unexpected (d), 1 mismatched (b: 5 instead of 3)'


@pytest.mark.parametrize('foreign', [shapes(x=(2,)), shapes(a=(9,)), {}])
def test_nothing_in_common_is_refused(foreign):
    with pytest.raises(CheckpointError, match=r'no weight of .file\.pth. fits.*belongs to this config'):
        check_coverage(shapes(a=(2,)), foreign, "'file.pth'")


def test_long_lists_are_cut_short():
    many = shapes(**{f'w{i}': (1,) for i in range(9)})
    assert '8 missing (w1, w2, w3, w4, w5 and 3 more)' in str(check_coverage(many, shapes(w0=(1,))))


@pytest.mark.parametrize('wrap', ['plain', 'state_dict', 'distributed', 'safetensors'])
def test_load_fills_the_model(tmp_path, wrap):
    source, target = model(), model()
    state = source.state_dict()
    path = tmp_path / ('x.safetensors' if wrap == 'safetensors' else 'x.pth')
    if wrap == 'safetensors':
        save_file(state, path)
    elif wrap == 'distributed':
        torch.save({'state_dict': {f'module.{name}': weight for name, weight in state.items()}}, path)
    else:
        torch.save(state if wrap == 'plain' else {'state_dict': state, 'meta': {}}, path)
    assert load_state(target, path, strict=True).is_complete
    for name, weight in target.state_dict().items():
        torch.testing.assert_close(weight, state[name], rtol=0, atol=0)


def test_partial_load_fills_what_fits_and_warns(tmp_path):
    torch.save({'state_dict': {**model(5).state_dict(), 'extra': torch.ones(1)}}, tmp_path / 'x.pth')
    target = model(4)
    before = target.stem.weight.clone()
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelno, record.getMessage()))
    logger = MMLogger.get_instance('coverage')
    logger.addHandler(handler)
    coverage = load_state(target, tmp_path / 'x.pth')
    assert coverage.mismatched == ('stem.weight', 'stem.bias', 'head.weight')
    assert coverage.matched == ('head.bias',)
    assert coverage.unexpected == ('extra',)
    torch.testing.assert_close(target.stem.weight, before)
    assert lines == [(logging.WARNING, f"'{tmp_path / 'x.pth'}': {coverage}")]
    with pytest.raises(CheckpointError, match=r'does not fill the model.*stem\.weight'):
        load_state(target, tmp_path / 'x.pth', strict=True)


class Renamed(nn.Linear):
    """A layer that still reads the name its weight had in an earlier version."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if f'{prefix}kernel' in state_dict:
            state_dict[f'{prefix}weight'] = state_dict.pop(f'{prefix}kernel')
        super()._load_from_state_dict(state_dict, prefix, *args)


def test_names_that_a_module_renames_while_loading_are_not_reported(tmp_path):
    target = nn.Sequential(OrderedDict(layer=Renamed(2, 2)))
    torch.save({'layer.kernel': torch.ones(2, 2), 'layer.bias': torch.zeros(2)}, tmp_path / 'x.pth')
    assert load_state(target, tmp_path / 'x.pth').is_complete
    torch.testing.assert_close(target.layer.weight, torch.ones(2, 2))


def test_versions_of_modules_reach_the_model(tmp_path):
    norm = nn.BatchNorm1d(3)
    state = norm.state_dict()
    del state['num_batches_tracked']
    torch.save(state, tmp_path / 'x.pth')
    assert weights_of(state)._metadata == state._metadata
    # Version 2 of batch norm has this buffer, so here it is missing; without a version it would be excused.
    assert load_state(nn.BatchNorm1d(3), tmp_path / 'x.pth').missing == ('num_batches_tracked',)
