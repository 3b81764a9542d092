"""Every rule of the score fusion in numpy, and what must hold whatever the numbers are."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.models import ScoreFusion, calibrate
from vlm_dense.registry import MODELS

IS_BASE = torch.tensor([True, False, True, False, True])
SEEN = IS_BASE.numpy()
EMPTY = torch.tensor([False, True, False, False, False, True])
CLOSE = {'rtol': 1e-5, 'atol': 1e-9}
VOIDS = ('own', 'shared', 'factor', 'normalised')
EMPTIES = ('keep', 'one', 'own', 'drop')


def softmax(rows: ndarray) -> ndarray:
    rows = np.exp(rows - rows.max(-1, keepdims=True))
    return rows / rows.sum(-1, keepdims=True)


def logits(background: bool = False) -> tuple[Tensor, Tensor]:
    """Own logits with the void last, and the region encoder's."""
    return 3 * torch.randn(6, 7 if background else 6), 3 * torch.randn(6, 5)


def both(background: bool = False) -> tuple[Tensor, Tensor, ndarray, ndarray]:
    own, region = logits(background)
    return own, region, own.double().numpy(), region.double().numpy()


def fused(own: Tensor, region: Tensor | None, nothing: Tensor | None = None, **settings: Any) -> ndarray:
    settings = {'base_power': 0.4, 'novel_power': 0.8, **settings}
    return MODELS.build({'type': 'vlm_dense.ScoreFusion', **settings})(own, region, nothing, IS_BASE).numpy()


def test_weights_per_group_of_words_as_zsseg() -> None:
    own, region, p, r = both()
    a, c = softmax(p)[:, :-1], softmax(r)
    c[EMPTY.numpy()] = 1
    expected = np.where(SEEN, a**0.8 * c**0.2, a**0.2 * c**0.8)
    found = fused(own, region, EMPTY, base_power=0.2, novel_power=0.8, empty='one')
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_one_weight_for_all_words_as_ovseg() -> None:
    own, region, p, r = both()
    a, c = softmax(p)[:, :-1], softmax(r)
    c[EMPTY.numpy()] = 1
    found = fused(own, region, EMPTY, base_power=0.7, novel_power=0.7, empty='one')
    np.testing.assert_allclose(found, a**0.3 * c**0.7, **CLOSE)


def test_shared_void_and_seen_mean_as_zegformer() -> None:
    own, region, p, r = both()
    a, c = softmax(p)[:, :-1], softmax(np.concatenate([r, p[:, -1:]], 1))[:, :-1]
    c[:, SEEN] = c[:, SEEN].mean(1, keepdims=True)
    expected = np.where(SEEN, a ** (2 / 3) * c ** (1 / 3), a ** (1 / 3) * c ** (2 / 3))
    settings: dict[str, Any] = dict(base_power=1 / 3, novel_power=2 / 3, void='shared', seen_mean=True)
    np.testing.assert_allclose(fused(own, region, EMPTY, **settings), expected, **CLOSE)


@pytest.mark.parametrize('empty', ['keep', 'own'])
def test_void_as_factor_as_fc_clip(empty: str) -> None:
    own, region, p, r = both()
    a, c, void = softmax(p[:, :-1]), softmax(r), softmax(p)[:, -1:]
    power = np.where(SEEN, 0.4, 0.8) * (~EMPTY.numpy()[:, None] if empty == 'own' else 1)
    expected = softmax(np.log(a ** (1 - power) * c**power)) * (1 - void)
    np.testing.assert_allclose(fused(own, region, EMPTY, void='factor', empty=empty), expected, **CLOSE)


def test_cube_roots_as_vilds_release() -> None:
    own, region, p, r = both()
    a, c = softmax(p)[:, :-1], softmax(r)
    expected = np.cbrt(a * c * np.where(SEEN, a, c))
    np.testing.assert_allclose(fused(own, region, base_power=1 / 3, novel_power=2 / 3), expected, **CLOSE)


@pytest.mark.parametrize('nameless', [False, True])
def test_words_and_void_sum_to_one_as_f_vlms_release(nameless: bool) -> None:
    own, region, p, r = both()
    if nameless:  # the region encoder has a row that stands for no word, too
        region = torch.cat([region, torch.randn(6, 1)], dim=1)
        r = region.double().numpy()
    power = np.where(SEEN, 0.35, 0.65)
    blend = softmax(p)[:, :-1] ** (1 - power) * softmax(r)[:, :5] ** power
    expected = blend / (blend.sum(1, keepdims=True) + softmax(p)[:, -1:])
    found = fused(own, region, base_power=0.35, novel_power=0.65, void='normalised')
    np.testing.assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize('void', VOIDS)
def test_a_background_takes_its_own_score(void: str) -> None:
    own, region, p, r = both(background=True)
    power = np.where(SEEN, 0.4, 0.8)
    a = softmax(p[:, :-1]) if void == 'factor' else softmax(p)[:, :-1]
    c = softmax(np.concatenate([r, p[:, -1:]], 1) if void == 'shared' else r)[:, :5]
    expected = np.concatenate([a[:, :5] ** (1 - power) * c**power, a[:, 5:]], 1)
    last = softmax(p)[:, -1:]
    if void == 'factor':
        expected = expected / expected.sum(1, keepdims=True) * (1 - last)
    if void == 'normalised':
        expected = expected / (expected.sum(1, keepdims=True) + last)
    np.testing.assert_allclose(fused(own, region, void=void), expected, **CLOSE)


def test_dropped_masks_name_nothing_and_the_region_encoder_may_speak_alone() -> None:
    own, region, _, r = both()
    expected = softmax(r) * ~EMPTY.numpy()[:, None]
    np.testing.assert_allclose(fused(own, region, EMPTY, base_power=1, novel_power=1, empty='drop'), expected, **CLOSE)


@pytest.mark.parametrize('background', [False, True])
@pytest.mark.parametrize('void', VOIDS)
@pytest.mark.parametrize('empty', ['keep', 'one', 'own'])
def test_without_weight_or_without_region_logits_scores_are_the_heads_own(
    void: str, empty: str, background: bool
) -> None:
    own, region, p, _ = both(background)
    expected = softmax(p)[:, :-1]
    settings: dict[str, Any] = dict(void=void, empty=empty, seen_mean=True)
    np.testing.assert_allclose(fused(own, region, EMPTY, base_power=0, novel_power=0, **settings), expected, **CLOSE)
    np.testing.assert_allclose(fused(own, None, None, **settings), expected, **CLOSE)


@pytest.mark.parametrize('seen_mean', [False, True])
@pytest.mark.parametrize('void', VOIDS)
@pytest.mark.parametrize('empty', EMPTIES)
def test_permuted_words_have_permuted_scores(void: str, empty: str, seen_mean: bool) -> None:
    own, region = logits(background=True)
    order = torch.randperm(5)
    fusion = ScoreFusion(0.4, 0.8, seen_mean, void, empty)
    plain = fusion(own, region, EMPTY, IS_BASE)
    found = fusion(torch.cat([own[:, order], own[:, 5:]], 1), region[:, order], EMPTY, IS_BASE[order])
    torch.testing.assert_close(found, torch.cat([plain[:, order], plain[:, 5:]], 1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('seen_mean', [False, True])
@pytest.mark.parametrize('void', VOIDS)
def test_more_words_change_no_quotient_within_a_group(void: str, seen_mean: bool) -> None:
    """Softmaxes see all words, so scores change; the sums cancel in quotients of words with the same weight."""
    own, region = (values.double() for values in logits())
    more_own, more_region = torch.randn(2, 6, 3, dtype=torch.double)
    fusion = ScoreFusion(0.4, 0.8, seen_mean, void)
    few = fusion(own, region, None, IS_BASE)
    wide = torch.cat([own[:, :5], more_own, own[:, 5:]], 1), torch.cat([region, more_region], 1)
    for is_seen in (True, False):
        words = torch.cat([IS_BASE, torch.full((3,), is_seen)])
        many = fusion(*wide, None, words)[:, :5]
        for group in (IS_BASE, ~IS_BASE):
            quotients = [scores[:, group] / scores[:, group][:, :1] for scores in (few, many)]
            torch.testing.assert_close(*quotients, rtol=1e-9, atol=0)
        assert not torch.allclose(few, many)


@pytest.mark.parametrize('void', VOIDS)
def test_words_of_no_probability_change_nothing(void: str) -> None:
    own, region = logits()
    never = torch.full((6, 2), -torch.inf)
    fusion = ScoreFusion(0.4, 0.8, void=void)
    few = fusion(own, region, EMPTY, IS_BASE)
    many = fusion(
        torch.cat([own[:, :5], never, own[:, 5:]], 1),
        torch.cat([region, never], 1),
        EMPTY,
        torch.cat([IS_BASE, torch.tensor([True, False])]),
    )
    torch.testing.assert_close(many, torch.cat([few, torch.zeros(6, 2)], 1), rtol=1e-5, atol=1e-8)


def test_the_region_encoder_has_no_say_between_seen_words() -> None:
    own, region = logits()
    own[:, :5] = 0
    fusion = ScoreFusion(1, 1, seen_mean=True)
    scores = fusion(own, region, None, IS_BASE)
    constant = region.softmax(1)[:, IS_BASE].mean(1, keepdim=True)
    torch.testing.assert_close(scores[:, IS_BASE], constant.expand(6, 3))
    torch.testing.assert_close(scores[:, ~IS_BASE], region.softmax(1)[:, ~IS_BASE])
    nobody = torch.zeros(5, dtype=torch.bool)
    torch.testing.assert_close(fusion(own, region, None, nobody), region.softmax(1))


@pytest.mark.parametrize('void', VOIDS)
@pytest.mark.parametrize('powers', [(0.4, 0.8), (0.0, 1.0), (1.0, 0.0)])
def test_no_probability_is_too_small(void: str, powers: tuple[float, float]) -> None:
    """Logits of a temperature of 0.01, zeros, a void that is sure, rows that name no word at all."""
    own, region = logits()
    own, region = 300 * own, 300 * region
    own[0, 1] = region[0, 2] = -torch.inf
    own[1, :5] = -torch.inf
    own[2, 5] = 5000
    scores = ScoreFusion(*powers, void=void)(own, region, EMPTY, IS_BASE)
    assert scores.isfinite().all()
    assert ((scores >= 0) & (scores <= 1.00001)).all()
    assert scores[0, 1] == 0 or powers[1] == 1
    assert scores[1].sum() == 0 or 1 in powers


def test_far_words_are_blended_by_their_logarithms() -> None:
    """Neither e^-150 is a float32, but their blend divided by its sum is 1/2."""
    own, region = torch.tensor([[0.0, -150.0, -200.0]]), torch.tensor([[-150.0, 0.0]])
    scores = ScoreFusion(0.5, 0.5, void='factor')(own, region, None, torch.tensor([True, True]))
    torch.testing.assert_close(scores, torch.tensor([[0.5, 0.5]]))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_first(dtype: torch.dtype) -> None:
    own, region = (values.to(dtype) for values in logits())
    fusion = ScoreFusion(0.4, 0.8, void='factor')
    expected = fusion(own.float(), region.float(), None, IS_BASE)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = fusion(own, region, None, IS_BASE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_leading_axes_and_no_regions() -> None:
    own, region = logits()
    fusion = ScoreFusion(0.4, 0.8, True, 'factor', 'own')
    plain = fusion(own, region, EMPTY, IS_BASE)
    batch = fusion(own.view(2, 3, 6), region.view(2, 3, 5), EMPTY.view(2, 3), IS_BASE)
    torch.testing.assert_close(batch.flatten(0, 1), plain)
    assert fusion(own[:0], region[:0], EMPTY[:0], IS_BASE).shape == (0, 5)


def test_calibrated_stacking_equals_numpy() -> None:
    maps = torch.rand(6, 3, 4)  # five words and a background
    expected = maps.numpy() - 0.1 * np.append(SEEN, False)[:, None, None]
    np.testing.assert_allclose(calibrate(maps, IS_BASE, 0.1).numpy(), expected, rtol=1e-6)
    assert torch.equal(calibrate(maps, IS_BASE, 0), maps)
    assert torch.equal(calibrate(maps[1:3], IS_BASE[1:3], 0.1), calibrate(maps, IS_BASE, 0.1)[1:3])


@pytest.mark.parametrize(('own', 'region'), [(5, 5), (8, 5), (6, 4), (6, 7)])
def test_columns_must_fit_the_words(own: int, region: int) -> None:
    with pytest.raises(ConfigError, match='of 5 words; give 6 or 7 columns, the void last'):
        ScoreFusion(0, 1)(torch.zeros(2, own), torch.zeros(2, region), None, IS_BASE)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'base_power': -0.1}, 'base_power of ScoreFusion is -0.1'),
        ({'novel_power': 1.5}, 'novel_power of ScoreFusion is 1.5'),
        ({'void': 'none'}, 'own, shared, factor, normalised'),
        ({'empty': 'zero'}, 'keep, one, own, drop'),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fused(*logits(), **settings)
