"""Functions run in several joined processes on this machine."""

import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import start_processes


def in_joined_processes(function: Callable[..., Any], *args: Any, world_size: int = 2) -> list[Any]:
    """What a function returns in every one of several gloo processes; it is called with the rank first."""
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_process, (world_size, folder, function, args), world_size, start_method='fork')
        return [torch.load(f'{folder}/{rank}.pt', weights_only=True) for rank in range(world_size)]


def _process(rank: int, world_size: int, folder: str, function: Callable[..., Any], args: tuple) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=world_size)
    try:
        torch.save(function(rank, *args), f'{folder}/{rank}.pt')
    except BaseException:
        traceback.print_exc()
        raise
    distributed.destroy_process_group()
