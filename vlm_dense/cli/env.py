"""``vlm-dense env``: a report to look at first, and to paste into an issue."""

import argparse
import platform
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from vlm_dense.cli.tables import table
from vlm_dense.compat.environment import Package, compiled_extension, inspect_packages, python_range
from vlm_dense.compat.finder import EXTENSION

NVIDIA_DRIVER = Path('/proc/driver/nvidia/version')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if something that is needed cannot be used, else 0."""
    packages = list(inspect_packages())
    for line in report(packages):
        print(line)
    return int(any(package.problem and package.is_required for package in packages))


def report(packages: list[Package]) -> Iterator[str]:
    """The lines of the report, section by section."""
    yield f'Python {platform.python_version()} (supported: {python_range()}), {platform.platform()}'
    yield sys.executable
    yield ''
    yield from table([('package', 'installed', 'supported', ''), *(_cells(package) for package in packages)])
    yield ''
    yield from device_lines() if 'torch' in sys.modules else ['GPU: unknown, torch does not import']
    yield ''
    yield from op_lines() if EXTENSION in sys.modules else ['Ops of mmcv: cannot be served, see below']
    yield ''
    yield from problem_lines(packages)


def _cells(package: Package) -> tuple[str, ...]:
    provider = package.distributions[0] if package.distributions else ''
    is_same_name = provider.replace('-', '_') == package.module
    installed = package.version if is_same_name else f'{package.version} ({provider})'
    if package.problem:
        state = 'PROBLEM, see below' if package.is_required else 'not usable, see below'
    elif package.tested and not package.is_tested:
        state = 'not tested'
    else:
        state = 'ok'
    return package.module, installed if provider else '-', package.tested or 'any', state


def device_lines() -> Iterator[str]:
    """What torch computes on."""
    import torch

    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter('always')
        is_available = torch.cuda.is_available()
    if is_available:
        for index in range(torch.cuda.device_count()):
            yield f'GPU {index}: {torch.cuda.get_device_name(index)}, CUDA {torch.version.cuda}'
        return
    yield 'GPU: none that torch can use; everything runs on the CPU'
    if NVIDIA_DRIVER.exists() and torch.version.cuda is None:
        yield '  There is an NVIDIA driver but this torch is a CPU build: install one for CUDA, see pytorch.org.'
    yield from (f'  {str(complaint.message).splitlines()[0]}' for complaint in complaints)


def op_lines() -> Iterator[str]:
    """Whose kernel does the work of each op of mmcv."""
    origin = compiled_extension()
    if origin:
        yield f"Ops of mmcv: all from mmcv's compiled extension ({origin})"
        return
    from vlm_dense.compat.ops import OPS

    yield 'Ops of mmcv: mmcv has no compiled extension; served by vlm_dense, forward and backward, CPU and GPU:'
    for kernel in ('torchvision', 'torch'):
        names = ', '.join(name for name, op in OPS.items() if op.kernel == kernel)
        yield from wrap(f'{kernel}: {names}', width=100, initial_indent='  ', subsequent_indent='    ')
    yield '  Any other op raises when it is called and needs full mmcv: see docs/install.md.'


def problem_lines(packages: list[Package]) -> Iterator[str]:
    """What is missing or broken, with the remedy."""
    problems = [package for package in packages if package.problem]
    if not problems:
        yield 'Nothing is missing.'
        return
    yield 'What to do:'
    for package in problems:
        yield f'  {package.module}: {package.problem}'
        yield f'    {package.remedy}'
