"""What a tower adds to token scores: cosines in numpy, inside a detector, and with words exchanged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from torch import Tensor

from vlm_dense.engine import read_config
from vlm_dense.errors import ConfigError
from vlm_dense.models.heads.grounding import TowerAlignment
from vlm_dense.registry import MODELS
from vlm_dense.text import Vocabulary

ROOT = Path(__file__).parents[2]
WORDS = ['zebra', 'acoustic guitar', 'candle', 'lemon']
SIZE = (128, 160)


def unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=-1)


def test_logits_are_scaled_cosines_of_tokens_that_stand_for_words() -> None:
    alignment = TowerAlignment(scale=3.0, shift=-0.5)
    cell_BDhw = unit(torch.randn(2, 4, 3, 8)).movedim(-1, 1)
    word_BLD = unit(torch.randn(2, 5, 8))
    word_BLD[:, 2] = 0  # a separator
    with torch.no_grad():
        found_BNL = alignment(cell_BDhw, word_BLD, [torch.Size((4, 3)), torch.Size((1, 1))])
    cosine = np.einsum('bdhw,bld->bhwl', cell_BDhw.numpy(), word_BLD.numpy())
    expected = 3 * cosine.reshape(2, 12, 5) - 0.5
    expected[:, :, 2] = 0
    np.testing.assert_allclose(found_BNL[:, :12], expected, atol=1e-5)
    # One cell stands for the middle of all: the mean of the four in the middle column.
    middle = 3 * cosine[:, 1:3, 1].mean(1) - 0.5
    middle[:, 2] = 0
    np.testing.assert_allclose(found_BNL[:, 12], middle, atol=1e-5)


@pytest.fixture(scope='module')
def config(pictures_root: Path):
    found = read_config(str(ROOT / 'configs' / 'glip_lite0_pictures.py'))
    center = str(pictures_root / 'data' / 'pictures' / 'center.safetensors')
    found.model.backbone.tower.center = center
    return found


def build(config, **changes):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build({**config.model, **changes}).eval()


def sample(words: list[str], base: list[str]) -> DetDataSample:
    shapes = dict(img_shape=SIZE, pad_shape=SIZE, ori_shape=SIZE, scale_factor=(1.0, 1.0))
    return DetDataSample(metainfo=dict(shapes, vocabulary=Vocabulary.from_words(words, base=base)))


def ask(model, words: list[str], base: list[str]) -> DetDataSample:
    picture = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.predict(picture, [sample(words, base)])[0]


def test_each_cell_and_each_word_is_embedded_as_the_offline_pair_does(config) -> None:
    model = build(config)
    picture = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        _, cell_BDhw = model._features(picture)
        ((_, prompts),) = model._requests([sample(WORDS, [])])
        tower = model.backbone.tower
        dense = unit(tower.embed_regions(tower.pyramid(picture)[3][:, :, 1:2, 2:3], 3))
    torch.testing.assert_close(cell_BDhw[:, :, 1, 2], dense)
    row_KD = model.text_bank(Vocabulary.from_words(WORDS))
    word_LD = prompts[0].text.word_BLD[0]
    for row, is_word_L in zip(row_KD, prompts[0].token_map_KL > 0, strict=True):
        assert is_word_L.any()
        assert torch.equal(word_LD[is_word_L], row.expand(int(is_word_L.sum()), -1))
    assert not word_LD[~(prompts[0].token_map_KL > 0).any(0)].any()


def test_exchanged_words_are_found_under_the_words_that_were_asked_for(config) -> None:
    model = build(config)
    control = build(config, type='vlm_dense.ExchangedWordsDetector', exchange_seed=0)
    control.load_state_dict(model.state_dict())
    true, found = ask(model, WORDS[:3], ['zebra']), ask(control, WORDS[:3], ['zebra'])
    assert found.vocabulary.words == tuple(WORDS[:3])
    # Two novel words can only change places: the prompt then reads them in the other order.
    other = ask(model, ['zebra', 'candle', 'acoustic guitar'], ['zebra'])
    assert torch.equal(found.pred_instances.bboxes, other.pred_instances.bboxes)
    assert torch.equal(found.pred_instances.labels, other.pred_instances.labels)
    assert not torch.equal(found.pred_instances.scores, true.pred_instances.scores)


def test_bank_alignment_and_tower_need_each_other(config) -> None:
    with pytest.raises(ConfigError, match=r'text_bank and bbox_head\.alignment need each other'):
        build(config, text_bank=None)
    resnet = dict(type='ResNet', depth=18, base_channels=8, out_indices=(1, 2, 3))
    with pytest.raises(ConfigError, match=r'ResNet is none; take a vlm_dense\.TowerBackbone'):
        build(config, backbone=resnet)
