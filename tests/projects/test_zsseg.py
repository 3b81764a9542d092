"""ZSSeg's recipe, shrunk: its formulas in numpy."""

from pathlib import Path

import numpy as np
import pytest
from named_masks import asked, assert_same, own_logits, score_maps, softmax, tiny_model

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
