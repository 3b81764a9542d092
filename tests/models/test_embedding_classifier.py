"""Cosine classification against numpy, for every switch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models import EmbeddingClassifier

D, N, K = 6, 5, 4
TOLERANCE = dict(rtol=1e-5, atol=1e-5)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(N, D), functional.normalize(torch.randn(K, D), dim=1)


@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('temperature', [0.01, 0.07, 1.0])
def test_logits_are_similarity_over_temperature(normalize: bool, temperature: float) -> None:
    region_ND, text_KD = inputs()
    classifier = EmbeddingClassifier(D, temperature, background=None, normalize=normalize)
    rows = unit(region_ND.numpy()) if normalize else region_ND.numpy()
    expected_NK = rows @ text_KD.numpy().T / temperature
    np.testing.assert_allclose(classifier(region_ND, text_KD).numpy(), expected_NK, rtol=1e-4, atol=1e-4)


def test_learned_background_is_a_unit_vector_in_the_last_column() -> None:
    region_ND, text_KD = inputs()
    classifier = EmbeddingClassifier(D, 0.1, background='learned')
    with torch.no_grad():
        classifier.extra.learned_ED.mul_(37.0)
    logits_NK = classifier(region_ND, text_KD).detach().numpy()
    assert logits_NK.shape == (N, K + 1)
    background = unit(classifier.extra.learned_ED.detach()[0].numpy())
    np.testing.assert_allclose(logits_NK[:, -1], unit(region_ND.numpy()) @ background / 0.1, **TOLERANCE)


def test_background_direction_is_learned_and_its_length_is_not() -> None:
    region_ND, text_KD = inputs()
    classifier = EmbeddingClassifier(D, 0.1)
    functional.cross_entropy(classifier(region_ND, text_KD), torch.full((N,), K)).backward()
    gradient_D = classifier.extra.learned_ED.grad[0]
    assert gradient_D.norm() > 0
    assert abs(float(gradient_D @ classifier.extra.learned_ED.detach()[0])) < 1e-5


def test_zero_background_has_logit_zero_and_no_parameters() -> None:
    region_ND, text_KD = inputs()
    classifier = EmbeddingClassifier(D, background='zero')
    assert list(classifier.parameters()) == []
    assert classifier(region_ND, text_KD)[:, -1].tolist() == [0.0] * N


def test_novel_logits_are_zero_in_training_only() -> None:
    region_ND, text_KD = inputs()
    is_base_K = torch.tensor([True, False, True, False])
    classifier = EmbeddingClassifier(D, 0.1, novel='zero_logit')
    plain_NK = EmbeddingClassifier(D, 0.1, background=None)(region_ND, text_KD)
    in_training_NK = classifier.train()(region_ND, text_KD, is_base_K)
    assert torch.equal(in_training_NK[:, [1, 3]], torch.zeros(N, 2))
    assert torch.equal(in_training_NK[:, [0, 2]], plain_NK[:, [0, 2]])
    assert torch.equal(classifier.eval()(region_ND, text_KD, is_base_K)[:, :K], plain_NK)


def test_zero_logit_stays_in_the_softmax() -> None:
    """The TPU code multiplies rare logits by zero: exp(0) = 1 remains in the denominator."""
    region_ND, text_KD = inputs()
    is_base_K = torch.tensor([True, True, True, False])
    classifier = EmbeddingClassifier(D, 0.1, background='zero', novel='zero_logit').train()
    logits_NK = unit(region_ND.numpy()) @ text_KD.numpy().T / 0.1
    weights_NK = np.exp(np.concatenate([logits_NK[:, :3], np.zeros((N, 2))], axis=1))
    expected_NK = weights_NK / weights_NK.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier(region_ND, text_KD, is_base_K).softmax(1).numpy(), expected_NK, **TOLERANCE)


def test_learned_temperature_starts_at_the_given_one_and_multiplies_it() -> None:
    region_ND, text_KD = inputs()
    classifier = EmbeddingClassifier(D, 0.1, background='zero', learn_temperature=True)
    assert [tuple(parameter.shape) for parameter in classifier.parameters()] == [()]
    cosine_NK = unit(region_ND.numpy()) @ text_KD.numpy().T
    np.testing.assert_allclose(classifier(region_ND, text_KD)[:, :K].detach().numpy(), cosine_NK / 0.1, **TOLERANCE)
    with torch.no_grad():
        classifier.temperature_factor.fill_(2.5)
    logits_NK = classifier(region_ND, text_KD)
    np.testing.assert_allclose(logits_NK[:, :K].detach().numpy(), cosine_NK / 0.25, **TOLERANCE)
    labels_N = torch.arange(N) % K
    functional.cross_entropy(logits_NK, labels_N).backward()
    # d/dT of the loss at logits s / (0.1 T): the expected minus the wanted logit, over -T.
    probability_NK = logits_NK.detach().softmax(1)
    gap_N = (probability_NK * logits_NK.detach()).sum(1) - logits_NK.detach()[torch.arange(N), labels_N]
    torch.testing.assert_close(classifier.temperature_factor.grad, -gap_N.mean() / 2.5, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('background', [None, 'learned', 'zero'])
def test_dense_map_equals_its_cells(background: str | None) -> None:
    dense_BDhw, text_KD = torch.randn(2, D, 3, 4), inputs()[1]
    classifier = EmbeddingClassifier(D, 0.07, background=background, novel='zero_logit').train()
    is_base_K = torch.tensor([True, False, True, True])
    cells_ND = dense_BDhw.permute(0, 2, 3, 1).reshape(-1, D)
    expected = classifier(cells_ND, text_KD, is_base_K).view(2, 3, 4, -1).permute(0, 3, 1, 2)
    torch.testing.assert_close(classifier(dense_BDhw, text_KD, is_base_K), expected, rtol=1e-4, atol=1e-4)


def test_any_number_of_words_with_the_same_weights() -> None:
    classifier = EmbeddingClassifier(D)
    for count in (1, 3, 50):
        assert classifier(torch.randn(N, D), torch.randn(count, D)).shape == (N, count + 1)


def test_no_regions() -> None:
    assert EmbeddingClassifier(D)(torch.zeros(0, D), inputs()[1]).shape == (0, K + 1)


@pytest.mark.parametrize(
    ('wrong', 'named'),
    [
        (dict(temperature=0), 'temperature'),
        (dict(background='learnt'), 'background'),
        (dict(novel='drop'), 'novel'),
    ],
)
def test_wrong_switches_are_named(wrong: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        EmbeddingClassifier(D, **wrong)


def test_widths_must_agree() -> None:
    with pytest.raises(ConfigError, match='6 channels and words 7'):
        EmbeddingClassifier(D)(torch.randn(N, D), torch.randn(K, 7))


def test_zero_logit_needs_the_flags() -> None:
    with pytest.raises(ConfigError, match='is_base_K'):
        EmbeddingClassifier(D, novel='zero_logit').train()(*inputs())


@pytest.mark.parametrize('void', ['learned', 'learned_raw'])
@pytest.mark.parametrize('background', [None, 'learned', 'zero'])
def test_void_is_the_last_column_and_raw_keeps_its_length(void: str, background: str | None) -> None:
    region_ND, text_KD = inputs()
    classifier = EmbeddingClassifier(D, 0.01, background=background, void=void)
    assert (classifier.has_background, classifier.has_void) == (background is not None, True)
    with torch.no_grad():
        classifier.extra.learned_ED.mul_(3.0)
    learned_ED = classifier.extra.learned_ED.detach().numpy()
    rows = [text_KD.numpy()]
    if background == 'learned':
        rows.append(unit(learned_ED[:1]))
    elif background == 'zero':
        rows.append(np.zeros((1, D), dtype=np.float32))
    rows.append(unit(learned_ED[-1:]) if void == 'learned' else learned_ED[-1:])
    expected_NK = 100 * unit(region_ND.numpy()) @ np.concatenate(rows).T
    assert expected_NK.shape == (N, K + 1 + (background is not None))
    np.testing.assert_allclose(classifier(region_ND, text_KD).detach().numpy(), expected_NK, rtol=1e-4, atol=1e-4)


def test_a_raw_void_learns_its_length_and_starts_like_a_linear_layer() -> None:
    region_ND, text_KD = inputs()
    classifier = EmbeddingClassifier(D, 0.1, background=None, void='learned_raw')
    functional.cross_entropy(classifier(region_ND, text_KD), torch.full((N,), K)).backward()
    raw_D = classifier.extra.learned_ED
    assert abs(float(raw_D.grad[0] @ raw_D.detach()[0])) > 1e-3
    wide = EmbeddingClassifier(4096, background=None, void='learned_raw').extra.learned_ED
    linear = torch.nn.Linear(4096, 1).weight
    assert wide.abs().max() <= linear.abs().max() * 1.01
    assert wide.std().item() == pytest.approx(linear.std().item(), rel=0.05)


def test_learned_scale_is_the_exponential_of_a_number_and_never_above_100() -> None:
    region_ND, text_KD = inputs()
    classifier = EmbeddingClassifier(D, 0.07, background=None, learn_scale=True)
    cosine_NK = unit(region_ND.numpy()) @ text_KD.numpy().T
    assert [(name, value.item()) for name, value in classifier.state_dict().items()] == [
        ('scale.log', pytest.approx(np.log(1 / 0.07)))
    ]
    for log, scale in ((None, 1 / 0.07), (1.5, np.exp(1.5)), (9.0, 100.0)):
        if log is not None:
            classifier.scale.log.data.fill_(log)
        logits_NK = classifier(region_ND, text_KD)
        np.testing.assert_allclose(logits_NK.detach().numpy(), scale * cosine_NK, rtol=1e-4, atol=1e-4)
    functional.cross_entropy(logits_NK, torch.arange(N) % K).backward()
    assert classifier.scale.log.grad.abs() > 0


def test_temperature_and_scale_are_not_both_learned() -> None:
    with pytest.raises(ConfigError, match='set one of them'):
        EmbeddingClassifier(D, learn_temperature=True, learn_scale=True)
