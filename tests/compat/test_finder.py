import importlib
import importlib.metadata
import importlib.util
import pkgutil
import subprocess
import sys
import warnings

import pytest

import vlm_dense
from vlm_dense.compat.finder import EXTENSION, OpsFinder, OpsLoader, install
from vlm_dense.errors import UnsupportedOpError

IMPORTS = 'import mmdet.models, mmdet.datasets, mmseg.models, mmseg.datasets'
FAKE_EXTENSION = """
import sys, vlm_dense
sys.path.insert(0, {folder!r})
import mmcv._ext
print(mmcv._ext.ORIGIN, mmcv._ext.__spec__.origin)
"""


def run_python(code, *flags):
    return subprocess.run([sys.executable, *flags, '-c', code], capture_output=True, text=True, timeout=240)


def served_extension():
    module = importlib.import_module(EXTENSION)
    if not isinstance(module.__spec__.loader, OpsLoader):
        pytest.skip('this mmcv is compiled')
    return module


def test_version_is_the_one_that_was_installed():
    assert vlm_dense.__version__ == importlib.metadata.version('vlm_dense')


def test_import_is_cheap_and_leaves_torch_alone():
    code = (
        'import sys, time; start = time.perf_counter(); import vlm_dense; '
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'mmcv' in sys.modules)"
    )
    # The best of three: a busy machine may hold up any single one.
    runs = [run_python(code).stdout.split() for _ in range(3)]
    assert all(run[1:] == ['False', 'False'] for run in runs)
    assert min(float(run[0]) for run in runs) < 0.2


def test_mmdet_and_mmseg_import_and_print_nothing():
    done = run_python(f'import vlm_dense; {IMPORTS}')
    assert done.returncode == 0, done.stderr
    assert done.stdout == ''


def test_extension_has_a_spec_that_mmengine_finds():
    served_extension()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        assert pkgutil.find_loader(EXTENSION) is not None
    spec = importlib.util.find_spec(EXTENSION)
    assert spec.name == EXTENSION
    assert isinstance(spec.loader, OpsLoader)


def test_compiled_extension_wins(tmp_path):
    package = tmp_path / 'mmcv'
    package.mkdir()
    (package / '__init__.py').write_text('')
    (package / '_ext.py').write_text("ORIGIN = 'compiled'")
    done = run_python(FAKE_EXTENSION.format(folder=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ['compiled', str(package / '_ext.py')]


def test_finder_answers_for_the_extension_only():
    finder = OpsFinder()
    assert finder.find_spec('mmcv._ext').loader is not None
    for name in ('mmcv', 'mmcv.ops', 'mmcv._ext.nms', 'mmdet._ext', 'numpy'):
        assert finder.find_spec(name) is None


def test_finder_is_installed_once_and_behind_the_path_finder():
    install()
    install()
    kinds = [type(finder).__name__ if not isinstance(finder, type) else finder.__name__ for finder in sys.meta_path]
    assert kinds.count('OpsFinder') == 1
    assert kinds.index('OpsFinder') > kinds.index('PathFinder')


def test_other_ops_raise_when_called_and_name_the_remedy():
    extension = served_extension()
    with pytest.raises(UnsupportedOpError, match=r"'nms_rotated'.*[Ff]ull mmcv"):
        extension.nms_rotated(1, threshold=2)


def test_other_ops_raise_through_mmcv_ops():
    served_extension()
    import torch
    from mmcv.ops import box_iou_rotated

    with pytest.raises(UnsupportedOpError, match='box_iou_rotated'):
        box_iou_rotated(torch.rand(2, 5), torch.rand(2, 5))


def test_dunder_attributes_are_missing_as_usual():
    extension = served_extension()
    with pytest.raises(AttributeError, match='__wrapped__'):
        _ = extension.__wrapped__
    assert not hasattr(extension, '__path__')


def test_mmcv_environment_report_does_not_crash():
    served_extension()
    from mmcv.ops import get_compiler_version, get_compiling_cuda_version

    assert 'not compiled' in get_compiler_version()
    assert 'not compiled' in get_compiling_cuda_version()
