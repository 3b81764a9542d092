"""Memory of this process while something runs, as Linux tells it."""

import ctypes
from pathlib import Path


def start_peak() -> float:
    """Let the peak start anew, freed memory handed back first: MB that are held now."""
    ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')
    return _megabytes('VmRSS')


def extra_megabytes(before: float) -> tuple[float, float]:
    """The peak since `start_peak`, and how much that is beyond what was held then."""
    peak = _megabytes('VmHWM')
    return peak, peak - before


def _megabytes(field: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
