"""Finding and reading weights: explicit file, local folders, caches, and the hub only where the user says so.

``install()`` makes mmengine's runner and ``init_cfg`` read through this room: without running code, with the
few types that mmengine's own checkpoints hold, and from safetensors files too.
"""

from vlm_dense.checkpoints.coverage import Coverage, check_coverage, load_state
from vlm_dense.checkpoints.finding import fetch, find_weights
from vlm_dense.checkpoints.mmengine_loader import install
from vlm_dense.checkpoints.preprocessing import Preprocessing
from vlm_dense.checkpoints.reading import read_checkpoint

__all__ = [
    'Coverage',
    'Preprocessing',
    'check_coverage',
    'fetch',
    'find_weights',
    'install',
    'load_state',
    'read_checkpoint',
]
