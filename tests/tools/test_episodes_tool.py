"""tools/test.py on episodes: by protocol and without, stopped and scored again, with other recipes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import provide
from miniatures.episodes import VOC_VAL, voc_map
from mmengine.registry import DefaultScope
from PIL import Image
from recipes import ROOT, tiny_recipe

from vlm_dense.datasets.preparation import prepare
from vlm_dense.engine.command_line import run_scoring, run_testing
from vlm_dense.registry import MODELS

RECIPES = ('lseg_rn101_pascal5i.py', 'lseg_vit_l16_ade20k.py')
PICTURES = {VOC_VAL[0]: 1, VOC_VAL[4]: 2}  # of fold 0, with the class that each shows


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and the recipes with random weights, beside each other."""
    root = tmp_path_factory.mktemp('episodes')
    provide('pascal5i', root / 'archives', root / 'data')
    assert prepare('pascal5i', root / 'data', archives=root / 'archives', partial=True).good
    with DefaultScope.overwrite_default_scope(None):
        for name in RECIPES:
            config = tiny_recipe(name, root)
            config.test_dataloader.update(num_workers=0, persistent_workers=False)
            own = config.get('custom_imports', {}).get('imports', [])
            config.custom_imports = dict(imports=[*own, 'recipe_parts'], allow_failed_imports=False)
            config.dump(root / name)
            torch.manual_seed(0)
            torch.save(MODELS.build(config.model).state_dict(), root / f'{name}.pth')
    return root


@pytest.fixture(autouse=True)
def _no_scope():
    with DefaultScope.overwrite_default_scope(None):
        yield


def arguments(root: Path, out: Path, *more: str, recipe: str = RECIPES[0], by_protocol: bool = True) -> list[str]:
    place = ['--data-root', str(root / 'data'), '--out', str(out), '--protocol', 'pascal5i_0'] if by_protocol else []
    return [str(root / recipe), str(root / f'{recipe}.pth'), *place, '--work-dir', str(out / 'logs'), *more]


@pytest.fixture(scope='module')
def measured(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script itself, as a user calls it."""
    out = tmp_path_factory.mktemp('measured')
    command = [sys.executable, str(ROOT / 'tools' / 'test.py'), *arguments(root, out)]
    environment = {**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return out


def kept(out: Path) -> dict[str, Path]:
    """The label map that was kept for every episode."""
    lines = [line for file in (out / 'predictions').glob('*.jsonl') for line in file.read_text().splitlines()]
    parts = [line.partition('\t') for line in lines]
    return {json.loads(name)[0]: out / 'predictions/maps' / json.loads(of)['pred_sem_seg'] for name, _, of in parts}


def figures(out: Path) -> dict[str, float]:
    return json.loads((out / 'result.json').read_text())['figures']


def test_figures_follow_from_the_kept_maps_and_the_raw_truth(measured: Path) -> None:
    maps = kept(measured)
    assert set(maps) == {f'{name}__{number:02}' for name, number in PICTURES.items()}
    inter, union = np.zeros((2, 2)), np.zeros((2, 2))
    for row, (name, number) in enumerate(PICTURES.items()):
        raw_HW = voc_map(0, row)
        with Image.open(maps[f'{name}__{number:02}']) as picture:
            found_HW = np.asarray(picture)
        for value in (0, 1):
            is_truth, is_found = ((raw_HW == number) == value)[raw_HW != 255], (found_HW == value)[raw_HW != 255]
            inter[value, row] += 500 * (is_truth & is_found).sum()
            union[value, row] += 500 * (is_truth | is_found).sum()
    found = figures(measured)
    assert found['miou'] == pytest.approx(100 * (inter[1] / union[1]).mean())
    assert found['fb_iou'] == pytest.approx(100 * (inter.sum(1) / union.sum(1)).mean())
    assert 0 < found['fb_iou'] < 100


def test_a_stopped_test_goes_on_and_is_scored_again(
    measured: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = (measured / 'predictions').glob('*.jsonl')
    subprocess.run(['cp', '-r', str(measured / 'predictions'), str(tmp_path)], check=True)
    # As a kill leaves it: one line, and the beginning of the next.
    (tmp_path / 'predictions' / file.name).write_text(file.read_text()[: -len(file.read_text().splitlines()[-1]) + 9])
    assert run_testing(arguments(root, tmp_path)) == 0
    assert len(list((tmp_path / 'predictions').glob('*.jsonl'))) == 2
    assert figures(tmp_path) == figures(measured)
    (tmp_path / 'result.json').unlink()
    assert run_scoring([str(tmp_path), '--data-root', str(root / 'data')]) == 0
    assert figures(tmp_path) == figures(measured)
    assert 'PASCAL-5i, fold 0, zero-shot' in capsys.readouterr().out


def test_without_a_protocol_and_with_larger_batches_it_is_the_same(
    measured: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = ['--cfg-options', 'test_dataloader.batch_size=2']
    assert run_testing(arguments(root, tmp_path / 'batch', *batch)) == 0
    assert figures(tmp_path / 'batch') == pytest.approx(figures(measured), abs=0.1)
    report = tmp_path / 'classes.json'
    plain = ['--cfg-options', f'test_evaluator.out_file={report}']
    assert run_testing(arguments(root, tmp_path / 'plain', *plain, by_protocol=False)) == 0
    assert json.loads(report.read_text())['figures'] == pytest.approx(figures(measured))


def test_any_recipe_of_pixels_answers_one_picture_at_a_time(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_testing(arguments(root, tmp_path / 'one', recipe=RECIPES[1])) == 0
    assert figures(tmp_path / 'one').keys() == {'miou', 'fb_iou', 'foreground_iou', 'background_iou'}
    batch = ['--cfg-options', 'test_dataloader.batch_size=2']
    assert run_testing(arguments(root, tmp_path / 'two', *batch, recipe=RECIPES[1])) == 2
    assert 'ask for different vocabularies (2 and 2 words); send them in separate' in capsys.readouterr().err


def test_every_picture_brings_its_own_words(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_testing(arguments(root, tmp_path, '--vocabulary', 'coco')) == 2
    assert 'every picture of pascal5i_0 brings its own phrases; drop --vocabulary' in capsys.readouterr().err
