import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from vlm_dense.cli.main import COMMANDS, build_parser, main
from vlm_dense.compat.environment import MODULES, Package, compiled_extension, inspect_packages
from vlm_dense.compat.remedies import remedy_for, torchvision_pair
from vlm_dense.errors import MissingFileError

RUN = """
import sys
from vlm_dense.cli.main import main
from vlm_dense.compat.environment import MODULES
for name in set(MODULES) - {kept!r}:
    del MODULES[name]
try:
    sys.exit(main(sys.argv[1:]))
finally:
    print('torch imported:', 'torch' in sys.modules)
"""


def run_cli(*words, kept=(), shadow=''):
    """Run the command in a process of its own.

    Args:
        words: Arguments of the command.
        kept: The modules to report on; importing all of them takes its time.
        shadow: Folder whose packages hide the installed ones.
    """
    environment = {**os.environ, 'PYTHONPATH': str(shadow)}
    command = [sys.executable, '-c', RUN.format(kept=set(kept)), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)


def shadow_package(folder, name, code):
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text(code)
    return folder


def test_report_of_this_machine(capsys):
    assert main(['env']) == 0
    out = capsys.readouterr().out
    for module in MODULES:
        assert re.search(rf'^{module} .*(ok|not tested)$', out, flags=re.MULTILINE), module
    assert re.search(rf'^torch +{re.escape(version("torch"))} +>=2\.6,<2\.\d+ ', out, flags=re.MULTILINE)
    assert 'GPU' in out
    assert re.search(r'roi_align_forward|compiled extension \(', out)
    assert out.rstrip().endswith('Nothing is missing.')


@pytest.mark.parametrize('words', [['--help'], ['env', '--help'], ['--version']])
def test_help_does_not_import_torch(words):
    done = run_cli(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == 'torch imported: False'


def test_installed_command_points_here():
    from importlib.metadata import entry_points

    (entry,) = entry_points(group='console_scripts', name='vlm-dense')
    assert entry.load() is main


def test_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(['nonsense'])
    assert caught.value.code == 2
    assert "'nonsense'" in capsys.readouterr().err


def test_errors_of_ours_are_one_line(monkeypatch, capsys):
    def run(args):
        raise MissingFileError("'x.pth' does not exist. Give another path.")

    monkeypatch.setattr('vlm_dense.cli.env.run', run)
    assert main(['env']) == 1
    assert capsys.readouterr().err == "vlm-dense env: 'x.pth' does not exist. Give another path.\n"
    with pytest.raises(MissingFileError):
        main(['--debug', 'env'])


def test_every_command_has_its_module_and_arguments():
    further = dict(bank=['list'], data=['check', 'a.json'], fetch=['hf:owner/name'])
    for name in COMMANDS:
        words = [name, *further.get(name, [])]
        assert build_parser(words).parse_args(words).command == name


def test_a_torchvision_of_another_torch_gives_a_remedy(tmp_path):
    code = "raise RuntimeError('operator torchvision::nms does not exist')"
    done = run_cli('env', kept=['torch', 'torchvision', 'mmcv'], shadow=shadow_package(tmp_path, 'torchvision', code))
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr + done.stdout
    assert re.search(r'^torchvision .*PROBLEM', done.stdout, flags=re.MULTILINE)
    minor = int(version('torch').split('.')[1])
    assert f"pip install 'torchvision==0.{minor + 15}.*'" in done.stdout
    assert 'Ops of mmcv: cannot be served' in done.stdout


def test_cv2_without_libgl_gives_a_remedy(tmp_path):
    code = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
    done = run_cli('env', kept=['torch', 'torchvision', 'cv2', 'mmcv'], shadow=shadow_package(tmp_path, 'cv2', code))
    assert done.returncode == 1
    assert 'opencv-python-headless' in done.stdout
    assert 'Traceback' not in done.stderr + done.stdout


def test_compiled_mmcv_is_named(tmp_path):
    folder = shadow_package(tmp_path, 'mmcv', "__version__ = '2.1.0'")
    (folder / 'mmcv' / '_ext.py').write_text('')
    done = run_cli('env', kept=['torch', 'torchvision', 'mmcv'], shadow=folder)
    assert f"all from mmcv's compiled extension ({folder / 'mmcv' / '_ext.py'})" in done.stdout


def test_compiled_mmcv_of_another_torch_gives_a_remedy(tmp_path):
    folder = shadow_package(tmp_path, 'mmcv', "__version__ = '2.1.0'")
    (folder / 'mmcv' / '_ext.py').write_text("raise ImportError(f'{__file__}: undefined symbol: _ZN3c10')")
    done = run_cli('env', kept=['torch', 'torchvision', 'mmcv'], shadow=folder)
    assert done.returncode == 1
    assert 'built for another torch' in done.stdout


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (AssertionError('MMCV==2.3.6 is used but incompatible. Please install mmcv>=2.0.0rc4.'), 'mmcv-lite==2.1.0'),
        (ModuleNotFoundError("No module named 'imgaug'"), 'pip install imaug'),
        (ModuleNotFoundError("No module named 'pkg_resources'"), 'setuptools<82'),
        (AttributeError("module 'pkgutil' has no attribute 'find_loader'"), 'Python below 3.14'),
        (ImportError('numpy.core.multiarray failed to import'), 'another numpy'),
        (ModuleNotFoundError("No module named 'shapely.geometry'"), '`pip install shapely`'),
        (OSError('something else'), "--force-reinstall 'mmdet>=3.3'"),
    ],
)
def test_remedies(error, words):
    assert words in remedy_for(error, 'mmdet>=3.3')


@pytest.mark.parametrize(('torch_version', 'pair'), [('2.6.0', '0.21'), ('2.14.1+cpu', '0.29')])
def test_pairs_of_torch_and_torchvision(monkeypatch, torch_version, pair):
    monkeypatch.setattr('vlm_dense.compat.remedies.version', lambda name: torch_version)
    assert f"'torchvision=={pair}.*'" in torchvision_pair()


def test_range_and_forks(monkeypatch):
    def row(distribution, installed):
        return Package('mmdet', (distribution,), installed, '>=3.3,<3.4', is_required=True)

    assert row('mmdet', '3.3.0').is_tested
    assert not row('mmdet', '3.4.0').is_tested
    assert not row('onedl-mmdetection', '3.3.0').is_tested


def test_two_distributions_of_one_module(monkeypatch):
    installed = {'mmcv-lite': '2.1.0', 'mmcv': '2.1.0'}
    monkeypatch.setattr('vlm_dense.compat.environment._version', lambda name: installed.get(name, ''))
    row = next(package for package in inspect_packages() if package.module == 'mmcv')
    assert row.problem == 'mmcv-lite and mmcv overwrite each other'
    assert 'pip uninstall -y mmcv-lite mmcv' in row.remedy


def test_missing_package(monkeypatch):
    monkeypatch.setitem(MODULES, 'not_there', ('not-there',))
    row = next(package for package in inspect_packages() if package.module == 'not_there')
    assert (row.problem, row.remedy) == ('not installed', "`pip install 'not-there'`")


def test_extension_has_a_path_where_it_is_compiled():
    import mmcv.ops  # noqa: F401

    from vlm_dense.compat.finder import EXTENSION, OpsLoader

    is_served = isinstance(sys.modules[EXTENSION].__spec__.loader, OpsLoader)
    assert (compiled_extension() == '') == is_served
