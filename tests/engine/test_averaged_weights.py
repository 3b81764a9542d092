"""A run that averages its weights starts the averages from any checkpoint, also from a bare list of weights."""

import pytest
import torch
from mmengine.hooks import EMAHook
from tiny_runs import config

from vlm_dense.engine import build_runner


@pytest.mark.parametrize('section', [None, 'model', 'state_dict'])
def test_the_averages_start_from_the_checkpoint(section, pictures, tmp_path):
    weights = build_runner(config(pictures / 'detector.py', tmp_path / 'made')).model.state_dict()
    path = str(tmp_path / 'weights.pth')
    torch.save(weights if section is None else {section: weights}, path)
    torch.manual_seed(1)
    hooks = [dict(type='EMAHook', momentum=0.1)]
    runner = build_runner(config(pictures / 'detector.py', tmp_path, custom_hooks=hooks, load_from=path))
    runner.test()
    (hook,) = [one for one in runner.hooks if isinstance(one, EMAHook)]
    for model in (runner.model, hook.ema_model.module):
        assert all(torch.equal(model.state_dict()[name], weight) for name, weight in weights.items())
