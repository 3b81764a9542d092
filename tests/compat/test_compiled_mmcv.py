"""The served ops against a compiled mmcv: same inputs, same numbers, forward and backward.

Slow and optional, for it needs a compiled mmcv in a folder of its own, which ``VLM_DENSE_MMCV_PATH`` names::

    pip download --no-deps --no-binary :all: onedl-mmcv==2.3.6
    tar xf onedl_mmcv-2.3.6.tar.gz && cd onedl_mmcv-2.3.6
    sed -i 's/c++17/c++20/' setup.py        # what the headers of torch 2.14 ask for
    MMCV_WITH_OPS=1 pip install --no-build-isolation --no-deps --target /somewhere/mmcv_full .
    VLM_DENSE_MMCV_PATH=/somewhere/mmcv_full pytest -m slow tests/compat/test_compiled_mmcv.py

It takes a C++ compiler and ninja, and about 7 minutes on 2 cores. Built for the CPU it has no RoIPool, focal loss
or deformable attention; those are compared where a GPU and a build for it are there.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

CASES = Path(__file__).with_name('op_cases.py')
MMCV_PATH = os.environ.get('VLM_DENSE_MMCV_PATH', '')


def run_cases(path, mmcv_path=''):
    environment = {**os.environ, 'PYTHONPATH': mmcv_path}
    done = subprocess.run(
        [sys.executable, str(CASES), str(path)], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    with safe_open(path, framework='pt') as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.skipif(not MMCV_PATH, reason='VLM_DENSE_MMCV_PATH does not name a folder with a compiled mmcv')
def test_served_ops_equal_compiled_mmcv(tmp_path):
    served, about_served = run_cases(tmp_path / 'served.safetensors')
    compiled, about_compiled = run_cases(tmp_path / 'compiled.safetensors', MMCV_PATH)
    assert about_served['extension'] == 'vlm_dense.compat.ops'
    assert about_compiled['extension'].startswith(MMCV_PATH)
    assert about_served['device'] == about_compiled['device']
    assert served.keys() == compiled.keys()
    wrong = []
    for name, expected in compiled.items():
        try:
            torch.testing.assert_close(served[name], expected, rtol=1e-4, atol=1e-4)
        except AssertionError as error:
            wrong.append(f'{name}: {error}')
    assert not wrong, '\n'.join(wrong)


def test_the_cases_run_on_what_is_installed(tmp_path):
    """So that the comparison above does not rot between the rare times when somebody runs it."""
    results, _ = run_cases(tmp_path / 'here.safetensors')
    assert len({name.split('.')[0] for name in results}) >= 32
    assert all(tensor.isfinite().all() for tensor in results.values() if tensor.is_floating_point())
