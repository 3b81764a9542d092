"""Memory while something runs: of this process, as Linux tells it, or of the GPU, as torch hands it out."""

import ctypes
from pathlib import Path

import torch


def start_peak(device: str = 'cpu') -> float:
    """Let the peak start anew, freed memory handed back first: MB that are held now."""
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')
    return _megabytes('VmRSS')


def extra_megabytes(before: float, device: str = 'cpu') -> tuple[float, float]:
    """The peak since `start_peak`, and how much that is beyond what was held then."""
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == 'cuda' else _megabytes('VmHWM')
    return peak, peak - before


def _megabytes(field: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
