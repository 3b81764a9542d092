"""The pair "ImageNet classifier + sentence encoder" on real photographs that ship in scikit-image's wheel."""

import pytest
import torch

from vlm_dense.text import BridgedTextEncoder, TextBank, Vocabulary
from vlm_dense.vlms import ImageNetTower

# Only 'rocket' to 'cat' are shown; none of the three is an ImageNet class name as written.
WORDS = ['rocket', 'coffee cup', 'cat', 'car', 'tomato', 'giraffe', 'banana', 'tree', 'bird', 'boat', 'chair', 'piano']


@pytest.fixture(scope='module')
def text_KD() -> torch.Tensor:
    return TextBank(BridgedTextEncoder(), 'single')(Vocabulary.from_words(WORDS))


@torch.no_grad()
@pytest.mark.parametrize('stride', [16, 32])
def test_names_whole_photographs(text_KD: torch.Tensor, photographs, stride: int) -> None:
    tower = ImageNetTower(output_stride=stride)
    for word, picture in photographs.items():
        scores_K = (tower.embed_images(picture) @ text_KD.T)[0]
        assert WORDS[int(scores_K.argmax())] == word
        assert scores_K.max() > 2 * scores_K.sort().values[-2]


@torch.no_grad()
def test_finds_the_thing_in_the_dense_map(text_KD: torch.Tensor, photographs) -> None:
    # The rocket stands left of the middle; the right fifth of the photograph is sky and trees.
    dense_Dhw = ImageNetTower(output_stride=16).embed_dense(photographs['rocket'])[0]
    scores_hw = torch.einsum('dhw,d->hw', dense_Dhw, text_KD[WORDS.index('rocket')])
    assert scores_hw[:, 4:10].mean() > scores_hw[:, 11:].mean() + 0.02
