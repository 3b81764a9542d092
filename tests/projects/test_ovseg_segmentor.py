"""OVSeg's segmentors, shrunk: their formulas in numpy, and the tower that is told what a mask hides."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from named_masks import asked, assert_same, own_logits, score_maps, softmax, tiny_model
from recipes import CONFIGS

from vlm_dense.registry import MODELS

WORDS = ('person', 'cow', 'sky-other', 'river', 'traffic cone')
NAMES = ('ovseg_r101c_cocostuff.py', 'ovseg_swin_b_cocostuff.py')


@pytest.mark.parametrize('name', NAMES)
def test_the_papers_formulas(name: str, tmp_path: Path) -> None:
    _, model = tiny_model(name, tmp_path)
    torch.nn.init.normal_(model.regions.tower.tower.visual.mask_embedding, std=3.0)
    answer, parts = asked(model, WORDS, WORDS[:2])
    a_NK = softmax(own_logits(parts, parts.void_D / np.linalg.norm(parts.void_D)))[:, :-1]
    c_NK = softmax(100 * parts.region_ND @ parts.words_KD.T)
    c_NK[0] = 1  # nothing is inside of it
    score_NK = a_NK**0.3 * c_NK**0.7  # seen or not
    assert_same(answer, score_maps(score_NK, parts.mask_NHW))


@pytest.mark.parametrize('name', NAMES)
def test_the_tower_has_its_mask_tokens(name: str, tmp_path: Path) -> None:
    _, model = tiny_model(name, tmp_path)
    _, before = asked(model, WORDS, ())
    tokens = model.regions.tower.tower.visual.mask_embedding
    torch.nn.init.normal_(tokens)
    _, after = asked(model, WORDS, ())
    assert np.array_equal(before.mask_NHW, after.mask_NHW)
    assert not np.allclose(before.region_ND, after.region_ND, atol=1e-3)
    assert len(tokens) == 3
    assert not any('mask_embedding' in weight for weight in model.state_dict())


@pytest.mark.parametrize('name', NAMES)
def test_the_tower_is_what_the_tuning_recipe_makes(name: str) -> None:
    config = Config.fromfile(CONFIGS / name)
    tower = config.model.regions.tower
    folder, _, checkpoint = tower.pretrained.removeprefix('work_dirs/').partition('/')
    tuning = Config.fromfile(CONFIGS / f'{folder}.py')
    assert checkpoint == f'epoch_{tuning.train_cfg.max_epochs}.pth'
    assert (tower.name, tower.depth) == (tuning.model.tower.name, tuning.model.tower.depth)
    assert config.model.text_bank.encoder.name == tower.name


@pytest.mark.parametrize('name', NAMES)
def test_masks_are_learned_before_there_is_a_tower(name: str, tmp_path: Path) -> None:
    option = '--cfg-options model.regions=None model.fusion=None'
    assert option in (CONFIGS.parent / 'projects' / 'ovseg' / 'README.md').read_text(encoding='utf-8')
    config, model = tiny_model(name, tmp_path)
    config.model.regions = config.model.fusion = None
    first = MODELS.build(config.model)
    load = first.load_state_dict(model.state_dict())
    assert (load.missing_keys, load.unexpected_keys) == ([], [])
