"""Joining the processes of one run, with and without GPUs."""

import datetime
import os
import subprocess
from collections.abc import Callable

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_main_process
from torch import distributed

from vlm_dense.errors import ConfigError, VlmDenseError

# Names of the number of a process, of processes, and of a process on its machine.
RANKS = (('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'))
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
DEFAULT_PORT = '29500'


def join_cpu_processes(launcher: str, timeout: float | None = None) -> None:
    """Open a gloo group on a machine without an accelerator; with one, leave the group to mmengine.

    mmengine's launchers set a CUDA device whatever the backend, so without GPUs the group has to exist before its
    runner is built. The environment is the one that torchrun, Slurm or Open MPI sets.

    Args:
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        timeout: Seconds that a process waits for the others; None keeps torch's default.

    Raises:
        ConfigError: If the launcher is unknown, or its environment is not there.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f"launcher '{launcher}' is unknown; take one of {', '.join(LAUNCHERS)}.")
    if launcher == 'none' or get_device() != 'cpu' or distributed.is_initialized():
        return
    try:
        if launcher == 'slurm':
            _adopt_slurm()
        elif launcher == 'mpi':
            _adopt_mpi()
        os.environ.setdefault('LOCAL_RANK', '0')
        rank, world_size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    except KeyError as error:
        raise ConfigError(
            f'launcher {launcher} needs the environment variable {error}; start through tools/dist_train.sh, '
            'tools/dist_test.sh or the slurm scripts, or drop --launcher.'
        ) from error
    wait = None if timeout is None else datetime.timedelta(seconds=timeout)
    distributed.init_process_group('gloo', rank=rank, world_size=world_size, timeout=wait)


def leave_processes() -> None:
    """Close the process group, if there is one."""
    if have_joined():
        distributed.destroy_process_group()


def have_joined() -> bool:
    """Whether this process belongs to a group."""
    return distributed.is_available() and distributed.is_initialized()


def is_first_process() -> bool:
    """Whether this process speaks for the run, also before the group exists."""
    if have_joined():
        return distributed.get_rank() == 0
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return next((os.environ[name] for name in names if name in os.environ), '0') == '0'


def in_first_process(job: Callable[[], None]) -> None:
    """Do something in the first process only; all wait for it, and its error is everybody's.

    Raises:
        VlmDenseError: What ``job`` raised.
    """
    raised: list[VlmDenseError | None] = [None]
    if is_main_process():
        try:
            job()
        except VlmDenseError as error:
            raised = [error]
    broadcast_object_list(raised)
    if raised[0] is not None:
        raise raised[0]


def place_among_processes() -> tuple[int, int, str]:
    """Number of this process, number of processes, and its device, for work that is shared out without a group.

    As torchrun or Slurm tell; the only one of its kind where neither does.
    """
    for rank, world_size, local in RANKS:
        if rank in os.environ:
            number = int(os.environ.get(local, 0))
            device = f'cuda:{number % torch.cuda.device_count()}' if torch.cuda.is_available() else 'cpu'
            return int(os.environ[rank]), int(os.environ[world_size]), device
    return 0, 1, 'cuda' if torch.cuda.is_available() else 'cpu'


def has_accelerator() -> bool:
    """Whether there is anything but the CPU to compute on."""
    return get_device() != 'cpu' or torch.cuda.is_available()


def _adopt_slurm() -> None:
    nodes = os.environ['SLURM_NODELIST']
    os.environ.setdefault('MASTER_PORT', DEFAULT_PORT)
    if 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostname', nodes]
        os.environ['MASTER_ADDR'] = subprocess.check_output(command, text=True).split()[0]
    os.environ['RANK'] = os.environ['SLURM_PROCID']
    os.environ['WORLD_SIZE'] = os.environ['SLURM_NTASKS']
    os.environ['LOCAL_RANK'] = os.environ.get('SLURM_LOCALID', '0')


def _adopt_mpi() -> None:
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', DEFAULT_PORT)
    os.environ['RANK'] = os.environ['OMPI_COMM_WORLD_RANK']
    os.environ['WORLD_SIZE'] = os.environ['OMPI_COMM_WORLD_SIZE']
    os.environ['LOCAL_RANK'] = os.environ['OMPI_COMM_WORLD_LOCAL_RANK']
