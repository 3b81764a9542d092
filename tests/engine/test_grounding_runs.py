"""GLIP's pre-training as real runs: killed and resumed, and through the shell script with two processes."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from bert_parts import WIDTH, tiny_bert
from mmengine.config import Config
from mmengine.runner import loops
from recipe_runs import recipe_run
from recipes import ROOT, SIDE
from test_killed_runs import KillHook
from tiny_runs import in_processes, logged, train
from torch.multiprocessing.spawn import ProcessExitedException

STEPS, EVERY, KILLED_AT = 6, 2, 3
SETS = 7  # of the large model's mixture
MODEL = dict(
    backbone=['embed_dims=16', 'depths=[1,1,1,1]', 'num_heads=[1,2,4,8]', 'window_size=3', 'init_cfg=None'],
    neck=['in_channels=[32,64,128]', 'out_channels=32'],
    bbox_head=[
        *('in_channels=32', 'feat_channels=32', 'num_blocks=1'),
        *(f'text.width={WIDTH}', 'text.num_heads=2', 'text.intermediate=48'),
    ],
)


def run_of(root: Path, work_dir: Path, **options: object) -> Config:
    """With the dropout of fusion, which the config does not name, and averaged weights."""
    cfg = recipe_run('glipv2_swin_t.py', root, work_dir, 1)
    cfg.train_cfg.max_iters, cfg.default_hooks.checkpoint.interval = STEPS, EVERY
    for key, value in options.items():
        cfg[key] = value
    return cfg


def test_killed_and_resumed_equals_uninterrupted(
    grounding_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts, masked words, contrasted regions, dropout and averages go on where they were."""
    # mmengine waits two seconds at the end of every epoch.
    monkeypatch.setattr(loops, 'time', SimpleNamespace(sleep=lambda seconds: None))
    whole = in_processes(train, run_of(grounding_root, tmp_path / 'whole'))
    killed = run_of(grounding_root, tmp_path / 'killed')
    killed.custom_hooks.append(dict(type=KillHook.__name__, step=KILLED_AT))
    with pytest.raises(ProcessExitedException, match='SIGKILL'):
        in_processes(train, killed)
    time.sleep(1)  # the folder of a log is named by the second
    resumed = in_processes(train, run_of(grounding_root, tmp_path / 'killed', resume=True))
    expected, found = logged(tmp_path / 'whole'), logged(tmp_path / 'killed')
    assert len(expected) == STEPS
    assert {'loss', 'masked_words.loss_mlm', 'contrast.loss'} <= set(expected[0])
    assert found == expected[KILLED_AT - KILLED_AT % EVERY :]
    assert all(torch.equal(resumed[key], weight) for key, weight in whole.items())


@pytest.mark.slow
def test_the_script_trains_the_large_model_with_two_processes(grounding_root: Path, tmp_path: Path) -> None:
    """As a user calls it, with tiny data in ./data and small sizes on the command line."""
    options = [f'model.{part}.{option}' for part, own in MODEL.items() for option in own]
    for number in range(SETS):
        steps = f'train_dataloader.dataset.datasets.{number}.pipeline'
        options += [f'{steps}.3.scales=[({SIDE},{SIDE})]', f'{steps}.7.tokenizer={tiny_bert()}']
    options += ['train_dataloader.batch_size=1', 'train_dataloader.num_workers=0', 'default_hooks.logger.interval=1']
    options += ['train_dataloader.persistent_workers=False', 'train_cfg.max_iters=3', 'log_level=WARNING']
    options.append(f'model.language_model.model={tiny_bert()}')
    command = ['bash', str(ROOT / 'tools/dist_train.sh'), str(ROOT / 'configs/glip_swin_l.py'), '2']
    done = subprocess.run(
        [*command, '--work-dir', str(tmp_path), '--cfg-options', *options],
        cwd=grounding_root,
        env=dict(os.environ, PYTHON=sys.executable),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = max(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    losses = [row['loss'] for row in map(json.loads, lines) if 'loss' in row]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
    weights = torch.load(tmp_path / 'iter_3.pth', weights_only=False)['state_dict']
    assert weights['bbox_head.head.dyhead_tower.0.b_attn.attn.l_proj.weight'].shape == (2048, WIDTH)
