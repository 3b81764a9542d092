"""Score ensembles against numpy and against the closed form of ViLD's release."""

import numpy as np
import pytest
import torch

from vlm_dense.errors import ConfigError
from vlm_dense.models import score_ensemble

IS_BASE = torch.tensor([True, False, True, False])


def probabilities() -> tuple[torch.Tensor, torch.Tensor]:
    p_NK = torch.randn(5, 5).softmax(dim=1)[:, :4]
    return p_NK, torch.randn(5, 4).softmax(dim=1)


def test_powers_per_kind_of_word() -> None:
    p_NK, q_NK = probabilities()
    expected = np.where(
        IS_BASE.numpy(), p_NK.numpy() ** 0.65 * q_NK.numpy() ** 0.35, p_NK.numpy() ** 0.2 * q_NK.numpy() ** 0.8
    )
    np.testing.assert_allclose(score_ensemble(p_NK, q_NK, IS_BASE, 0.35, 0.8).numpy(), expected, rtol=1e-5)


def test_equals_the_cube_root_of_vilds_release() -> None:
    p_NK, q_NK = probabilities()
    third_NK = np.where(IS_BASE.numpy(), p_NK.numpy(), q_NK.numpy())
    expected = np.cbrt(p_NK.numpy() * q_NK.numpy() * third_NK)
    np.testing.assert_allclose(score_ensemble(p_NK, q_NK, IS_BASE, 1 / 3, 2 / 3).numpy(), expected, rtol=1e-5)


def test_ends_of_the_scale_are_the_parts() -> None:
    p_NK, q_NK = probabilities()
    torch.testing.assert_close(score_ensemble(p_NK, q_NK, IS_BASE, 0, 0), p_NK)
    torch.testing.assert_close(score_ensemble(p_NK, q_NK, IS_BASE, 1, 1), q_NK)


def test_with_a_background_words_and_background_sum_to_one() -> None:
    p_NK, q_NK = probabilities()
    background_N = 1 - p_NK.sum(1)
    blend_NK = score_ensemble(p_NK, q_NK, IS_BASE, 0.35, 0.65).numpy()
    expected = blend_NK / (blend_NK.sum(1) + background_N.numpy())[:, None]
    scores_NK = score_ensemble(p_NK, q_NK, IS_BASE, 0.35, 0.65, background_N)
    np.testing.assert_allclose(scores_NK.numpy(), expected, rtol=1e-5)
    torch.testing.assert_close(score_ensemble(p_NK, q_NK, IS_BASE, 0, 0, background_N), p_NK)


def test_zero_probability_stays_zero() -> None:
    p_NK, q_NK = probabilities()
    p_NK[0, 1] = 0
    scores_NK = score_ensemble(p_NK, q_NK, IS_BASE, 1 / 3, 2 / 3)
    assert scores_NK[0, 1] == 0
    assert scores_NK.isfinite().all()


def test_background_must_be_dropped_first() -> None:
    p_NK, q_NK = probabilities()
    with pytest.raises(ConfigError, match='background'):
        score_ensemble(torch.cat([p_NK, p_NK[:, :1]], dim=1), q_NK, IS_BASE, 1 / 3, 2 / 3)


@pytest.mark.parametrize('powers', [(-0.1, 0.5), (0.5, 1.5)])
def test_powers_are_weights(powers: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match='power'):
        score_ensemble(*probabilities(), IS_BASE, *powers)
