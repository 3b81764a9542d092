"""Refinements of scores against numpy, from the papers' formulas."""

import numpy as np
import pytest
import torch

from vlm_dense.models.decode_heads.refinements import DROPPED, drop_absent, smooth_by_keys, suppress_small


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def test_rows_that_no_cell_is_sure_of_are_dropped() -> None:
    logits = 4 * torch.randn(3, 6, 5, 7, generator=torch.Generator().manual_seed(0))
    sure = softmax(logits.double().numpy(), axis=1).max(axis=(2, 3))
    threshold = float(np.median(sure))
    found = drop_absent(logits, threshold).numpy()
    assert 0 < (sure < threshold).sum() < sure.size
    for picture, row in np.ndindex(3, 6):
        expected = DROPPED if sure[picture, row] < threshold else logits[picture, row].numpy()
        np.testing.assert_array_equal(found[picture, row], np.broadcast_to(expected, (5, 7)))


def test_a_picture_without_any_sure_row_keeps_all() -> None:
    logits = torch.zeros(2, 4, 3, 3)
    logits[1, 2] = 9
    found = drop_absent(logits, 0.5)
    assert torch.equal(found[0], logits[0])
    assert (found[1, [0, 1, 3]] == DROPPED).all()
    assert torch.equal(found[1, 2], logits[1, 2])


@pytest.mark.parametrize('keys_over', ['channels', 'cells'])
@pytest.mark.parametrize('weights', ['cosine', 'mean'])
def test_smoothing_equals_numpy(keys_over: str, weights: str) -> None:
    generator = torch.Generator().manual_seed(0)
    prob = (3 * torch.randn(2, 5, 3, 7, generator=generator)).softmax(dim=1)
    keys = torch.randn(2, 8, 3, 7, generator=generator)
    found = smooth_by_keys(prob, keys, 0.8, keys_over, weights).numpy()
    for picture in range(2):
        p_LS = prob[picture].flatten(1).T.double().numpy()
        k_LC = keys[picture].flatten(1).T.double().numpy()
        k_LC /= np.linalg.norm(k_LC, axis=1 if keys_over == 'channels' else 0, keepdims=True)
        weight_LL = k_LC @ k_LC.T
        if weights == 'mean':
            weight_LL = np.maximum(weight_LL, 0)
            weight_LL /= weight_LL.sum(axis=1, keepdims=True)
        expected = np.array([weight_LL[i] @ p_LS if p_LS[i].max() < 0.8 else p_LS[i] for i in range(21)])
        assert 0 < (p_LS.max(axis=1) < 0.8).sum() < 21
        np.testing.assert_allclose(found[picture].reshape(5, 21).T, expected, atol=1e-5)


def test_means_stay_probabilities() -> None:
    prob = torch.randn(1, 4, 5, 5).softmax(dim=1)
    smooth = smooth_by_keys(prob, torch.randn(1, 3, 5, 5), weights='mean')
    torch.testing.assert_close(smooth.sum(dim=1), torch.ones(1, 5, 5), atol=1e-5, rtol=0)


def test_words_of_few_pixels_are_silenced() -> None:
    # Ten pixels go to words: seven, two and one; two pixels are background.
    winners = [0] * 7 + [1] * 2 + [2] + [3] * 2
    scores_41W = torch.nn.functional.one_hot(torch.tensor(winners), 4).T[:, None].float() + 0.1
    for share, kept in ((0.05, [0, 1, 2]), (0.1, [0, 1]), (0.2, [0]), (0.7, [])):
        found_31W = suppress_small(scores_41W[:3], scores_41W[3:], share)
        for word in range(3):
            expected = scores_41W[word] if word in kept else torch.zeros(1, 12)
            assert torch.equal(found_31W[word], expected), (share, word)
