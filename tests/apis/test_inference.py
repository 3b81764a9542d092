"""Finder on the recipe of the built-in pictures: real words, real tower, no trained weights."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from vlm_dense.apis import Finder, read_picture
from vlm_dense.errors import CheckpointError, DataError, MissingFileError, VocabularyError
from vlm_dense.text.prompt_packing import caption_prompt

CONFIGS = Path(__file__).parents[2] / 'configs'
CAT = Path(skimage.data.__file__).parent / 'chelsea.png'
WORDS = ['cat', 'coffee cup', 'кошка']


@pytest.fixture(scope='module')
def detector(pictures_root: Path) -> Finder:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pictures_root)
        return Finder(CONFIGS / 'vild_lite0_pictures.py')


@pytest.fixture(scope='module')
def segmentor(pictures_root: Path) -> Finder:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pictures_root)
        return Finder(CONFIGS / 'lseg_lite0_pictures.py')


def test_detections_carry_the_callers_words_best_first(detector: Finder) -> None:
    found = detector.detect(CAT, WORDS)
    height, width = read_picture(CAT).shape[:2]
    assert set(found.words) <= set(WORDS)
    assert len(found.words) == len(found.boxes_N4) == len(found.scores_N) > 0
    assert (np.diff(found.scores_N) <= 0).all()
    assert (found.boxes_N4 >= 0).all()
    assert (found.boxes_N4 <= [width, height, width, height]).all()


def test_order_of_words_changes_nothing_but_the_indices(detector: Finder) -> None:
    one, other = detector.detect(CAT, WORDS), detector.detect(CAT, WORDS[::-1])
    np.testing.assert_allclose(one.scores_N, other.scores_N, atol=1e-5)
    assert one.words[:10] == other.words[:10]


def test_array_and_file_are_the_same_picture(detector: Finder) -> None:
    one, other = detector.detect(CAT, WORDS), detector.detect(read_picture(CAT), WORDS)
    np.testing.assert_array_equal(one.boxes_N4, other.boxes_N4)


def test_threshold_leaves_out_lower_scores(detector: Finder) -> None:
    everything = detector.detect(CAT, WORDS)
    middle = float(np.median(everything.scores_N))
    kept = detector.detect(CAT, WORDS, score_threshold=middle)
    assert len(kept.words) == int((everything.scores_N >= middle).sum())


def test_label_map_has_the_size_of_the_picture(segmentor: Finder) -> None:
    labels_HW = segmentor.segment(CAT, WORDS)
    assert labels_HW.shape == read_picture(CAT).shape[:2]
    assert set(np.unique(labels_HW)) <= set(range(len(WORDS) + 1))


@pytest.mark.parametrize('words', [[], ['cat', ' '], ['cat', 'Cat']])
def test_words_that_cannot_be_used(detector: Finder, words: list[str]) -> None:
    with pytest.raises(VocabularyError):
        detector.detect(CAT, words)


def test_picture_that_cannot_be_read(detector: Finder, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r'nowhere\.jpg'):
        detector.detect(tmp_path / 'nowhere.jpg', WORDS)
    broken = tmp_path / 'broken.jpg'
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(broken)
    for content in (b'not a picture', broken.read_bytes()[:900]):
        broken.write_bytes(content)
        with pytest.raises(DataError, match=r'broken\.jpg'):
            detector.detect(broken, WORDS)


def test_wide_and_grey_pictures_work(detector: Finder, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 300), dtype=np.uint8)).save(tmp_path / 'grey.png')
    assert len(detector.detect(tmp_path / 'grey.png', WORDS).boxes_N4) > 0


def test_checkpoint_of_another_model_is_refused(pictures_root: Path, tmp_path: Path, monkeypatch) -> None:
    torch.save({'state_dict': {'other.weight': torch.zeros(3)}}, tmp_path / 'other.pth')
    monkeypatch.chdir(pictures_root)
    with pytest.raises(CheckpointError, match=r'other\.pth'):
        Finder(CONFIGS / 'vild_lite0_pictures.py', tmp_path / 'other.pth')


def test_missing_config_names_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match='nowhere'):
        Finder(tmp_path / 'nowhere.py')
    with pytest.raises(MissingFileError, match='nowhere'):
        Finder(tmp_path / 'nowhere.py', cfg_options={'a': 1})


def test_a_caption_reaches_the_detector(detector: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    step = detector.model.test_step
    monkeypatch.setattr(detector.model, 'test_step', lambda batch: asked.append(batch) or step(batch))
    prompt = caption_prompt('a cat sits', [[(2, 5)]])
    detector.detect(CAT, ['cat'], prompt=prompt)
    detector.detect(CAT, ['cat'])
    assert [batch['data_samples'][0].get('prompt') for batch in asked] == [prompt, None]
