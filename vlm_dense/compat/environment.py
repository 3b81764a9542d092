"""What is installed, whether it imports, and whether it is what was tested."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from vlm_dense.compat.finder import EXTENSION
from vlm_dense.compat.remedies import remedy_for

PACKAGE = 'vlm_dense'
# What is imported, and the distributions that provide it; the first is the one that was tested.
MODULES = {
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'numpy': ('numpy',),
    'cv2': ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless'),
    'mmengine': ('mmengine', 'onedl-mmengine'),
    'mmcv': ('mmcv-lite', 'mmcv', 'onedl-mmcv'),
    'mmdet': ('mmdet', 'onedl-mmdetection'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
    'open_clip': ('open_clip_torch',),
    'timm': ('timm',),
    'transformers': ('transformers',),
    'pycocotools': ('pycocotools',),
    'faster_coco_eval': ('faster-coco-eval',),
    'safetensors': ('safetensors',),
}


@dataclass(frozen=True)
class Package:
    """One row of the report.

    Attributes:
        module: What is imported.
        distributions: What provides it, as pip calls it; more than one overwrite each other's files.
        version: Of the first of them, or an empty string.
        tested: Range of versions that was tested, or an empty string where no range is declared.
        is_required: Whether this package needs it; an extra otherwise.
        problem: Why it cannot be used, or an empty string.
        remedy: What to do about the problem.
    """

    module: str
    distributions: tuple[str, ...]
    version: str
    tested: str
    is_required: bool
    problem: str = ''
    remedy: str = ''

    @property
    def is_tested(self) -> bool:
        """Whether the version lies in the tested range; a fork, or a package without a range, does not."""
        from packaging.specifiers import SpecifierSet

        is_original = self.distributions[:1] == MODULES[self.module][:1]
        return bool(self.tested) and is_original and SpecifierSet(self.tested).contains(self.version, prereleases=True)


def python_range() -> str:
    """The versions of Python that this package declares."""
    return metadata(PACKAGE)['Requires-Python']


def inspect_packages() -> Iterator[Package]:
    """Every package of ``MODULES`` in turn, importing each one."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    declared = [Requirement(text) for text in requires(PACKAGE) or ()]
    # Lower bounds first, as people read them.
    ranges = {
        canonicalize_name(need.name): ','.join(sorted(map(str, need.specifier), key=lambda part: part[0] == '<'))
        for need in declared
    }
    core = {canonicalize_name(need.name) for need in declared if 'extra' not in str(need.marker)}
    for module, candidates in MODULES.items():
        name = canonicalize_name(candidates[0])
        tested = ranges.get(name, '')
        # What the others bring along, such as cv2 by mmcv, is as necessary as what is declared.
        yield _inspect(module, candidates, tested, is_required=name in core or name not in ranges)


def _inspect(module: str, candidates: tuple[str, ...], tested: str, is_required: bool) -> Package:
    found = {name: installed for name in candidates if (installed := _version(name))}
    names = tuple(found)
    row = Package(module, names, next(iter(found.values()), ''), tested, is_required)
    requirement = f'{candidates[0]}{tested}'
    try:
        # An import may fail in any way, also with the AssertionErrors of mmdet and mmseg.
        import_module(module)
        if module == 'mmcv':
            import_module(EXTENSION)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            return replace(row, problem='not installed', remedy=f"`pip install '{requirement}'`")
        problem = f'{type(error).__name__}: {error}'.splitlines()[0]
        return replace(row, problem=problem, remedy=remedy_for(error, requirement))
    if len(names) > 1:
        others = ' and '.join(names)
        remedy = f'`pip uninstall -y {" ".join(names)}`, then install one of them'
        return replace(row, problem=f'{others} overwrite each other', remedy=remedy)
    return row


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ''


def compiled_extension() -> str:
    """Path of mmcv's compiled extension, or an empty string where the ops are served by this package."""
    mmcv = sys.modules.get('mmcv')
    spec = PathFinder.find_spec(EXTENSION, mmcv.__path__) if mmcv else None
    return spec.origin or '' if spec else ''
