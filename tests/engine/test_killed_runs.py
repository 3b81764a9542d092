"""A run that is killed at any moment and resumed logs the losses of one that was not, to the last digit."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import loops
from tiny_runs import config, in_processes, logged, train
from torch.multiprocessing.spawn import ProcessExitedException

from vlm_dense.engine.resuming import newest_checkpoint, seed_of

ROOT = Path(__file__).resolve().parents[2]
STEPS, EVERY, KILLED_AT = 12, 4, 9
STEPS_TO_HIT = 20  # for a kill that comes from outside
FLIP = dict(type='RandomFlip', prob=0.5)
IN_ORDER = dict(type='DefaultSampler', shuffle=True)


@HOOKS.register_module()
class KillHook(Hook):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def random_run(pictures: Path, name: str, work_dir: Path, steps: int = STEPS, **options: object) -> Config:
    """Flips, dropout where there is any, averaged weights, AdamW, validation between the steps."""
    options = dict(
        train_cfg__max_iters=steps,
        train_cfg__val_interval=6,
        train_cfg__val_begin=1,
        default_hooks__checkpoint__interval=EVERY,
        optim_wrapper__optimizer=dict(_delete_=True, type='AdamW', lr=1e-3),
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
        **options,
    )
    if name == 'segmentor':
        options['model__decode_head__dropout_ratio'] = 0.5
    cfg = config(pictures / f'{name}.py', work_dir, **options)
    cfg.train_dataloader.dataset.pipeline.insert(2, FLIP)
    return cfg


@pytest.mark.parametrize(
    ('name', 'workers', 'sampler'), [('segmentor', 0, None), ('detector', 2, None), ('segmentor', 1, IN_ORDER)]
)
def test_killed_and_resumed_equals_uninterrupted(name, workers, sampler, pictures, tmp_path, monkeypatch):
    # mmengine waits two seconds at the end of every epoch.
    monkeypatch.setattr(loops, 'time', SimpleNamespace(sleep=lambda seconds: None))
    options = dict(train_dataloader__num_workers=workers, train_dataloader__persistent_workers=workers > 0)
    if sampler:
        options['train_dataloader__sampler'] = sampler
    whole = in_processes(train, random_run(pictures, name, tmp_path / 'whole', **options))
    killed = random_run(pictures, name, tmp_path / 'killed', **options)
    killed.custom_hooks.append(dict(type='KillHook', step=KILLED_AT))
    with pytest.raises(ProcessExitedException, match='SIGKILL'):
        in_processes(train, killed)
    time.sleep(1)  # the folder of a log is named by the second
    resumed = in_processes(train, random_run(pictures, name, tmp_path / 'killed', resume=True, **options))
    expected, found = logged(tmp_path / 'whole'), logged(tmp_path / 'killed')
    assert len(expected) == STEPS
    assert found == expected[KILLED_AT - KILLED_AT % EVERY :]
    assert all(torch.equal(resumed[key], weight) for key, weight in whole.items())


def start(run: Path, work_dir: Path, processes: int, *arguments: str) -> list[subprocess.Popen]:
    """``tools/train.py`` in processes that only their environment ties together, as torchrun's."""
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(run), '--work-dir', str(work_dir), *arguments]
    if processes > 1:
        command += ['--launcher', 'pytorch']
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        port = one.getsockname()[1]
    settings = dict(OMP_NUM_THREADS='1', WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    ranks = [{**os.environ, **settings, 'RANK': str(rank), 'LOCAL_RANK': str(rank)} for rank in range(processes)]
    return [subprocess.Popen(command, cwd=ROOT, env=rank) for rank in ranks]


def wait_for_step(folder: Path, step: int, running: list[subprocess.Popen]) -> None:
    while all(process.poll() is None for process in running):
        logs = [file.read_text() for file in folder.glob('*/vis_data/scalars.json')]
        if any(f'"step": {step}' in text for text in logs):
            return
        time.sleep(0.01)
    raise AssertionError('the run ended before it could be killed')


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_tools_killed_from_outside_go_on_with_the_same_losses(processes, pictures, tmp_path):
    """The whole way: the command line, the system's kill, --resume; in one process and in two."""
    run, whole, killed = tmp_path / 'run.py', tmp_path / 'whole', tmp_path / 'killed'
    random_run(pictures, 'segmentor', tmp_path, STEPS_TO_HIT).dump(run)
    assert [process.wait() for process in start(run, whole, processes)] == [0] * processes
    running = start(run, killed, processes)
    wait_for_step(killed, KILLED_AT, running)
    for process in running:
        process.kill()
    assert [process.wait() for process in running] == [-signal.SIGKILL] * processes
    reached = int(Path(newest_checkpoint(str(killed))).stem.removeprefix('iter_'))
    assert EVERY <= reached < STEPS_TO_HIT
    assert [process.wait() for process in start(run, killed, processes, '--resume')] == [0] * processes
    assert logged(killed) == logged(whole)[reached:]


def test_a_run_without_a_seed_keeps_the_one_it_drew(pictures, tmp_path):
    """mmengine would shuffle with another seed before it reads that of the checkpoint."""
    options = dict(randomness__seed=None, train_cfg__max_iters=8, default_hooks__checkpoint__interval=4)
    in_processes(train, config(pictures / 'segmentor.py', tmp_path, **options))
    whole = logged(tmp_path)
    seed = seed_of(str(tmp_path / 'iter_8.pth'))
    assert isinstance(seed, int)
    time.sleep(1)
    again = dict(resume=True, load_from=str(tmp_path / 'iter_4.pth'), **options)
    in_processes(train, config(pictures / 'segmentor.py', tmp_path, **again))
    assert logged(tmp_path) == whole[4:]
