"""Open-vocabulary detection and segmentation for OpenMMLab.

Importing the package reads nothing but a finder: where mmcv has no compiled ops, ``mmcv._ext`` is
served from torchvision's and torch's kernels (see ``vlm_dense.compat``).
"""

from vlm_dense.compat.finder import install as _install_finder

__version__ = '0.1.0'

_install_finder()
