"""Serve ``mmcv._ext`` where mmcv was installed without its compiled extension.

mmcv loads its extension by name (``importlib.import_module('mmcv._ext')``) and asks whether it exists with
``pkgutil.find_loader``; both go through ``sys.meta_path``. The finder here stands at the END of that list:
it is asked only after everybody else has failed, so a compiled extension is always the one that is used.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTENSION = 'mmcv._ext'
OPS = 'vlm_dense.compat.ops'


class OpsLoader(Loader):
    """Fills ``mmcv._ext`` with the functions of ``vlm_dense.compat.ops``; torch is imported only here."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the creation of the module to the import system, which sets ``__spec__``."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the ops, and the fallback for the other ones, into the module."""
        import_module(OPS).fill(module)


class OpsFinder(MetaPathFinder):
    """Answers for ``mmcv._ext`` and for nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of the served extension, or None for any other name."""
        if fullname != EXTENSION:
            return None
        return ModuleSpec(fullname, OpsLoader(), origin=OPS)


def install() -> None:
    """Put the finder at the end of ``sys.meta_path``, once."""
    if not any(isinstance(finder, OpsFinder) for finder in sys.meta_path):
        sys.meta_path.append(OpsFinder())
