"""tools/test.py --protocol and tools/score.py as a user meets them, with kill -9 in between."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_dense.cli.main import main
from vlm_dense.engine.command_line import run_scoring, run_testing
from vlm_dense.evaluation.protocols import find_protocol

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / 'configs' / 'maskclip_lite0_pictures.py')
NUM_PICTURES = 5
# Without a threshold, noise is words, so that figures are not all 0.
QUICK = [
    '--cfg-options',
    'test_dataloader.num_workers=0',
    'test_dataloader.batch_size=1',
    'model.test_cfg.mode=whole',
    'model.decode_head.prob_threshold=0',
    'model.decode_head.background_words=[]',
]


@pytest.fixture(scope='module')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ADE20K-150's validation folders with large patches of a few labels."""
    root = tmp_path_factory.mktemp('sets')
    random = np.random.default_rng(0)
    for kind, ending, values, shape in (('images', 'jpg', 256, (80, 100, 3)), ('annotations', 'png', 151, (80, 100))):
        folder = root / 'ade' / 'ADEChallengeData2016' / kind / 'validation'
        folder.mkdir(parents=True)
        for number in range(NUM_PICTURES):
            coarse = random.integers(0, values, (4, 5, *shape[2:]), dtype=np.uint8)
            Image.fromarray(coarse.repeat(20, 0).repeat(20, 1)).save(folder / f'ADE_val_{number:08}.{ending}')
    return root


@pytest.fixture(autouse=True)
def _beside_the_pictures(pictures_root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(pictures_root)
    monkeypatch.delenv('VLM_DENSE_DEBUG', raising=False)


def arguments(data_root: Path, out: Path) -> list[str]:
    place = ['--data-root', str(data_root), '--out', str(out), '--work-dir', str(out / 'logs')]
    return [RECIPE, '--protocol', 'ade20k_150', *place, *QUICK]


@pytest.fixture(scope='module')
def measured(data_root: Path, tmp_path_factory: pytest.TempPathFactory, pictures_root: Path) -> Path:
    out = tmp_path_factory.mktemp('measured')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pictures_root)
        assert run_testing(arguments(data_root, out)) == 0
    return out


def lines(out: Path) -> list[str]:
    found = [line for path in (out / 'predictions').glob('*.jsonl') for line in path.read_text().splitlines(True)]
    return [line for line in found if line.endswith('\n')]


def test_the_result_tells_what_was_measured(measured: Path) -> None:
    result = json.loads((measured / 'result.json').read_text())
    assert result['protocol']['name'] == 'ade20k_150'
    assert result['pictures'] == NUM_PICTURES
    assert result['vocabulary']['']['words'] == 150
    assert len(result['vocabulary']['']['hash']) == len(result['config_hash']) == len(result['weights']['sha256']) == 64
    assert result['recipe'].endswith('maskclip_lite0_pictures.py')
    assert result['prompt'] == 'a_photo'
    assert result['seconds_per_picture'] > 0
    assert result['peak_memory_mib']['machine'] > 100
    assert {'vlm_dense', 'torch', 'mmsegmentation'} <= result['versions'].keys() == result['scored_with'].keys()
    assert result['test_cfg'] == dict(mode='whole')
    assert result['figures']['pixel_accuracy'] > 0


def test_kept_predictions_are_scored_without_the_model(
    measured: Path, data_root: Path, capsys: pytest.CaptureFixture
) -> None:
    before = json.loads((measured / 'result.json').read_text())
    request = measured / 'predictions' / 'request.json'
    told = json.loads(request.read_text())
    request.write_text(json.dumps(dict(told, versions=dict(told['versions'], torch='0.1'))))
    assert run_scoring([str(measured), '--data-root', str(data_root)]) == 0
    after = json.loads((measured / 'result.json').read_text())
    assert after['figures'] == before['figures']
    assert after['weights'] == before['weights']
    assert after['test_cfg'] == before['test_cfg']
    assert after['versions']['torch'] == '0.1', 'what predicted is told'
    assert after['scored_with'] == before['scored_with']
    printed = capsys.readouterr().out
    assert find_protocol('ade20k_150').title in printed
    assert f'{before["figures"]["miou"]:7.2f}' in printed


def test_a_killed_test_goes_on_where_it_stopped(measured: Path, data_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / 'tools' / 'test.py'), *arguments(data_root, tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(lines(tmp_path)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    first = [path.read_bytes() for path in (tmp_path / 'predictions').glob('*.jsonl')]
    assert not (tmp_path / 'result.json').exists()
    assert run_testing(arguments(data_root, tmp_path)) == 0
    assert len(lines(tmp_path)) == NUM_PICTURES
    assert first[0] in [path.read_bytes() for path in (tmp_path / 'predictions').glob('*.jsonl')]
    figures = [json.loads((out / 'result.json').read_text())['figures'] for out in (tmp_path, measured)]
    assert figures[0] == figures[1]


def test_predictions_of_another_run_are_refused(measured: Path, data_root: Path, capsys: pytest.CaptureFixture) -> None:
    changed = [*arguments(data_root, measured), 'model.decode_head.logit_scale=1.0']
    assert run_testing(changed) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'holds predictions of another run (different: config); give another folder as --out' in error


@pytest.mark.parametrize('changed', ['pictures', 'parameters', 'text'])
def test_whatever_makes_other_predictions_is_asked(
    changed: str, measured: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, root = tmp_path / 'out', data_root
    shutil.copytree(measured, out)
    if changed == 'pictures':
        root = tmp_path / 'other'
        shutil.copytree(data_root, root)
        next(root.glob('ade/*/images/validation/*0.jpg')).unlink()
    else:
        request = out / 'predictions' / 'request.json'
        told = json.loads(request.read_text())
        assert told[changed], 'is known'
        request.write_text(json.dumps({**told, changed: 'other'}))
    assert run_testing(arguments(root, out)) == 2
    assert f'another run (different: {changed})' in capsys.readouterr().err


def test_missing_predictions_are_told(measured: Path, data_root: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / 'predictions'
    folder.mkdir()
    (folder / 'request.json').write_text((measured / 'predictions' / 'request.json').read_text())
    assert run_scoring([str(tmp_path), '--data-root', str(data_root)]) == 2
    assert f'has no predictions for {NUM_PICTURES} of {NUM_PICTURES} pictures' in capsys.readouterr().err


def test_protocols_are_listed_and_told(capsys: pytest.CaptureFixture) -> None:
    assert main(['protocols']) == 0
    assert 'ov_coco' in capsys.readouterr().out
    assert main(['protocols', 'ov_coco']) == 0
    assert 'python tools/data/prepare.py ov_coco' in capsys.readouterr().out
