"""Finding and reading weights: what is on this machine, never what would have to be fetched.

``install()`` makes mmengine's runner and ``init_cfg`` read through this room: without running code, with the
few types that mmengine's own checkpoints hold, and from safetensors files too.
"""

from vlm_dense.checkpoints.coverage import Coverage, check_coverage, load_state
from vlm_dense.checkpoints.mmengine_loader import install
from vlm_dense.checkpoints.reading import read_checkpoint

__all__ = ['Coverage', 'check_coverage', 'install', 'load_state', 'read_checkpoint']
