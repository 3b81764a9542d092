"""The shell scripts hand everything on, and real processes of theirs train and evaluate."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import DETECTOR, write_config, write_pictures

TOOLS = Path(__file__).parents[2] / 'tools'
LISTER = '#!/usr/bin/env bash\nprintf "%s\\n" "OMP=${OMP_NUM_THREADS:-}" "$@"\n'


@pytest.fixture
def call(tmp_path):
    """Runs a script with programs that print their arguments in place of python and srun."""
    for name in ('lister', 'srun'):
        path = tmp_path / name
        path.write_text(LISTER)
        path.chmod(path.stat().st_mode | stat.S_IEXEC)

    def run(script, *arguments, **environment):
        inherited = {key: value for key, value in os.environ.items() if key not in ('PORT', 'OMP_NUM_THREADS')}
        environment = dict(
            inherited, PYTHON=str(tmp_path / 'lister'), PATH=f'{tmp_path}:{os.environ["PATH"]}', **environment
        )
        command = ['bash', str(TOOLS / script), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_dist_train_hands_on(call):
    done = call('dist_train.sh', 'my config.py', '2', '--cfg-options', 'a=[1, 2]')
    threads, *arguments = done.stdout.splitlines()
    assert threads == f'OMP={max(1, len(os.sched_getaffinity(0)) // 2)}'
    assert arguments == [
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nnodes=1',
        '--nproc_per_node=2',
        f'{TOOLS}/train.py',
        'my config.py',
        '--cfg-options',
        'a=[1, 2]',
        '--launcher',
        'pytorch',
    ]


def test_dist_test_on_several_machines(call):
    nodes = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', OMP_NUM_THREADS='3')
    threads, *arguments = call('dist_test.sh', 'c.py', 'x.pth', '4', '--out', 'o.json', **nodes).stdout.splitlines()
    assert threads == 'OMP=3'
    where = ['--nnodes=2', '--node_rank=1', '--master_addr=10.0.0.1', '--master_port=29500', '--nproc_per_node=4']
    own = [f'{TOOLS}/test.py', 'c.py', 'x.pth', '--out', 'o.json', '--launcher', 'pytorch']
    assert arguments == ['-m', 'torch.distributed.run', *where, *own]
    assert '--master_port=4321' in call('dist_test.sh', 'c.py', 'x.pth', '1', PORT='4321').stdout


def test_recipes_that_train_nothing_have_no_checkpoint(call):
    own = [f'{TOOLS}/test.py', 'c.py', '--out', 'o.json', '--launcher', 'pytorch']
    listed = call('dist_test.sh', 'c.py', '2', '--out', 'o.json').stdout.splitlines()
    assert '--nproc_per_node=2' in listed
    assert listed[-len(own) :] == own
    listed = call('slurm_test.sh', 'part', 'job', 'c.py', '--out', 'o.json', GPUS='2').stdout.splitlines()
    assert listed[-5:] == [f'{TOOLS}/test.py', 'c.py', '--out', 'o.json', '--launcher=slurm']


def test_which_python(tmp_path):
    def picked(**environment):
        script = f'. "{tmp_path}/tools/pick_python.sh"; echo "$PYTHON"'
        clean = {'PATH': os.environ['PATH'], **environment}
        return subprocess.run(['bash', '-euc', script], env=clean, capture_output=True, text=True).stdout.strip()

    (tmp_path / 'tools').mkdir()
    shutil.copy(TOOLS / 'pick_python.sh', tmp_path / 'tools')
    assert picked() == 'python'
    made = tmp_path / '.venv' / 'bin' / 'python'
    made.parent.mkdir(parents=True)
    made.write_text('')
    made.chmod(0o755)
    assert picked() == str(made)
    assert picked(VIRTUAL_ENV='/some/where') == 'python'
    assert picked(PYTHON='mine') == 'mine'


def test_slurm_scripts(call, tmp_path):
    done = call(
        'slurm_train.sh', 'part', 'job', 'c.py', 'work dir', '--resume', GPUS='4', SRUN_ARGS='--time=1 --mem=2G'
    )
    assert done.stdout.splitlines()[1:] == [
        '-p',
        'part',
        '--job-name=job',
        '--ntasks=4',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        '--gres=gpu:4',
        '--ntasks-per-node=4',
        '--time=1',
        '--mem=2G',
        str(tmp_path / 'lister'),
        '-u',
        f'{TOOLS}/train.py',
        'c.py',
        '--work-dir=work dir',
        '--resume',
        '--launcher=slurm',
    ]
    arguments = call('slurm_test.sh', 'part', 'job', 'c.py', 'x.pth', GPUS='2', GPUS_PER_NODE='0').stdout.splitlines()
    assert not any('gres' in argument for argument in arguments)
    assert arguments[-5:] == ['-u', f'{TOOLS}/test.py', 'c.py', 'x.pth', '--launcher=slurm']


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_too_few_arguments(script, call):
    done = call(script, 'one')
    assert done.returncode == 2
    assert done.stderr.startswith('usage: ')


def test_the_number_of_processes_must_be_one(call):
    done = call('dist_train.sh', 'c.py', 'x.pth')
    assert (done.returncode, done.stderr) == (2, "GPUS must be a number of processes, got 'x.pth'\n")


@pytest.mark.slow
def test_real_processes(tmp_path):
    """Through torch.distributed.run; without GPUs this is gloo."""
    write_pictures(tmp_path / 'data')
    # The types of the tests register themselves when the config imports their module.
    imports = "custom_imports = dict(imports=['tiny_runs'])\n"
    config = write_config(tmp_path / 'data', 'detector', imports + DETECTOR)
    paths = os.pathsep.join([str(Path(__file__).parents[1] / 'engine'), os.environ.get('PYTHONPATH', '')])
    environment = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=paths)

    def run(*command):
        done = subprocess.run(
            ['bash', *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    step = ['--cfg-options', 'train_cfg.max_iters=2', 'train_dataloader.batch_size=2']
    run(f'{TOOLS}/dist_train.sh', str(config), '2', '--work-dir', 'run', *step)
    figures = []
    for processes in ('1', '2'):
        checkpoint = str(tmp_path / 'run' / 'iter_2.pth')
        run(f'{TOOLS}/dist_test.sh', str(config), checkpoint, processes, '--work-dir', processes, '--out', 'o.json')
        lines = max((tmp_path / processes).glob('*/*.json')).read_text().splitlines()
        figures.append({name: value for name, value in json.loads(lines[-1]).items() if 'ap' in name})
        figures.append((tmp_path / 'o.json').read_bytes())
    assert figures[:2] == figures[2:]
