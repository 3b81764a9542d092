"""ZSSeg's recipes, shrunk: the formulas in numpy, and both stages one after the other."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from named_masks import asked, assert_same, own_logits, score_maps, softmax, tiny_model
from recipe_data import write_word_regions
from recipe_maps import write_coco_stuff_data
from recipes import CONFIGS, tiny_recipe

from vlm_dense.engine.command_line import run_training
from vlm_dense.registry import MODELS

WORDS = ('person', 'cow', 'sky-other', 'river', 'traffic cone')


@pytest.mark.parametrize('base', [('person', 'sky-other'), ()])
def test_the_papers_formulas(base: tuple[str, ...], tmp_path: Path) -> None:
    _, model = tiny_model('zsseg_r101c_cocostuff.py', tmp_path)
    answer, parts = asked(model, WORDS, base)
    assert parts.empty_N[0]
    assert not parts.empty_N[1:].any()
    a_NK = softmax(own_logits(parts, parts.void_D / np.linalg.norm(parts.void_D)))[:, :-1]
    c_NK = softmax(100 * parts.region_ND @ parts.words_KD.T)
    c_NK[0] = 1
    weight_K = np.where(parts.is_base_K, 0.2, 0.8)
    assert_same(answer, score_maps(a_NK ** (1 - weight_K) * c_NK**weight_K, parts.mask_NHW))


def test_a_prompt_is_learned_and_then_names_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions drawn, vectors trained by tools/train.py, and a segmentor that reads the file which its recipe names."""
    monkeypatch.chdir(tmp_path)
    write_coco_stuff_data(tmp_path)
    write_word_regions(tmp_path)
    first = tiny_recipe('zsseg_prompts_cocostuff.py', tmp_path)
    for loader in (first.train_dataloader, first.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
    first.train_cfg.update(max_iters=3, val_interval=3)
    first.dump('zsseg_prompts_cocostuff.py')
    assert run_training(['zsseg_prompts_cocostuff.py']) == 0
    written = Config.fromfile(CONFIGS / 'zsseg_r101c_cocostuff_learned.py').model.text_bank
    written.encoder = first.model.prompts.encoder
    _, model = tiny_model('zsseg_r101c_cocostuff_learned.py', tmp_path)
    bank = MODELS.build(written)
    assert bank.prompts.context_KPC.shape[1] == 4
    model.__dict__['text_bank'] = model.__dict__['region_bank'] = bank
    answer, parts = asked(model, WORDS, ('person',))
    assert np.allclose(np.linalg.norm(parts.own_KD, axis=1), 1, atol=1e-5)
    assert answer.vocabulary.words == WORDS
