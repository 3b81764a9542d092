"""The types beyond tensors that mmengine's checkpoints hold, and nothing that can do anything.

A resumable mmengine checkpoint keeps its log as ``HistoryBuffer`` objects over numpy arrays. torch refuses them
by default (``weights_only=True``). They are let in by name, for the time of one reading only.
"""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch

NUMBER_CODES = '?bhilqBHILQefdg'  # numpy's booleans, integers and floats
NUMPY_HOMES = ('numpy._core.multiarray', 'numpy.core.multiarray')  # numpy 2 and 1 pickle under different names
STATISTICS = ('min', 'max', 'current', 'mean')

Harmless = Callable[..., Any] | tuple[Callable[..., Any], str]


@contextmanager
def harmless_types_allowed() -> Iterator[None]:
    """Let the harmless types through torch's restricted unpickler inside the ``with`` block."""
    # torch forgets on exit whatever was named here, also what the user had allowed before.
    allowed_before = set(torch.serialization.get_safe_globals())
    with torch.serialization.safe_globals([entry for entry in harmless_types() if entry not in allowed_before]):
        yield


@lru_cache(maxsize=1)
def harmless_types() -> tuple[Harmless, ...]:
    """What ``harmless_types_allowed`` allows, each with the name it has in a file where that differs."""
    from mmengine.logging import HistoryBuffer

    # An array and a number know the functions that rebuild them, under whichever name this numpy keeps them.
    rebuild_array = np.zeros(0).__reduce__()[0]
    rebuild_number = np.float64(0).__reduce__()[0]
    return (
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        *(type(np.dtype(code)) for code in NUMBER_CODES),
        *((rebuild_array, f'{home}._reconstruct') for home in NUMPY_HOMES),
        *((rebuild_number, f'{home}.scalar') for home in NUMPY_HOMES),
        # A HistoryBuffer names its four statistics as getattr(HistoryBuffer, 'mean').
        (_statistics_getattr, 'builtins.getattr'),
    )


def _statistics_getattr(owner: Any, name: str) -> Any:
    """``getattr`` for the statistics of ``HistoryBuffer``; anything else could reach into the interpreter."""
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in STATISTICS:
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'GLOBAL builtins.getattr({getattr(owner, "__name__", owner)},{name})')
