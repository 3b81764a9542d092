"""tools/test.py, tools/train.py and Finder on a recipe in which nothing is trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from mmengine.registry import DefaultScope

from vlm_dense.apis import Finder, read_picture
from vlm_dense.engine.command_line import run_testing, run_training

CONFIGS = Path(__file__).parents[2] / 'configs'
RECIPE = str(CONFIGS / 'maskclip_lite0_pictures.py')
CAT = Path(skimage.data.__file__).parent / 'chelsea.png'
WORDS = ['cat', 'coffee cup', 'кошка']


@pytest.fixture(autouse=True)
def _beside_the_pictures(pictures_root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(pictures_root)
    monkeypatch.delenv('VLM_DENSE_DEBUG', raising=False)
    with DefaultScope.overwrite_default_scope(None):
        yield


def test_figures_without_a_checkpoint(tmp_path: Path) -> None:
    options = ['--cfg-options', 'test_dataloader.num_workers=0', 'test_dataloader.dataset.indices=2']
    assert run_testing([RECIPE, '--work-dir', str(tmp_path), *options]) == 0
    figures = json.loads(max(tmp_path.glob('*/*.json')).read_text().splitlines()[-1])
    assert {'seen_miou', 'unseen_miou', 'background_iou'} <= figures.keys()


def test_training_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_training([RECIPE, '--work-dir', str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'lacks train_dataloader and train_cfg and optim_wrapper, without which it cannot train' in error


def test_a_recipe_with_training_needs_its_checkpoint(capsys: pytest.CaptureFixture) -> None:
    assert run_testing([str(CONFIGS / 'lseg_lite0_pictures.py')]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert 'lseg_lite0_pictures.py describes a training, so that a test needs its checkpoint' in error


def test_finder_needs_no_checkpoint_and_any_number_of_words() -> None:
    finder = Finder(RECIPE)
    for words in (WORDS, WORDS[:1]):
        labels_HW = finder.segment(CAT, words)
        assert labels_HW.shape == read_picture(CAT).shape[:2]
        assert set(np.unique(labels_HW)) <= set(range(len(words) + 1))
    assert (finder.segment(CAT, ['cat', 'rocket']) == 0).mean() > (finder.segment(CAT, ['cat', 'rocket']) == 1).mean()
