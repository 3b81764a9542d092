import numpy as np
import pytest
import torch

from vlm_dense.errors import VocabularyError
from vlm_dense.text.averaging import AVERAGINGS, max_over_synonyms, mean_over_synonyms, normalise_mean

WORD_OF_S = torch.tensor([1, 0, 1, 2, 1, 0])  # six names of three words, not sorted


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt((rows**2).sum(axis=-1, keepdims=True))


ORACLES = {
    'normalise_mean_normalise': lambda x: unit(unit(x).mean(axis=-2)),
    'mean_normalise': lambda x: unit(x.mean(axis=-2)),
    'normalise_mean': lambda x: unit(x).mean(axis=-2),
    'mean': lambda x: x.mean(axis=-2),
}


@pytest.fixture
def encoded() -> torch.Tensor:
    """(2, 4, 5, 7) vectors of very different lengths."""
    return torch.randn(2, 4, 5, 7) * torch.rand(2, 4, 5, 1).mul(4).exp()


class TestOrders:
    @pytest.mark.parametrize('name', AVERAGINGS)
    def test_formula_in_numpy(self, name: str, encoded: torch.Tensor) -> None:
        expected = ORACLES[name](encoded.double().numpy())
        np.testing.assert_allclose(AVERAGINGS[name](encoded).numpy(), expected, atol=1e-6)

    def test_the_three_orders_differ(self, encoded: torch.Tensor) -> None:
        rows = [function(encoded) for function in AVERAGINGS.values()]
        assert (rows[0] - rows[1]).abs().max() > 0.05
        assert (rows[0] - rows[2]).abs().max() > 0.05

    def test_disagreement_shortens(self) -> None:
        agree, disagree = torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        assert normalise_mean(agree).norm().item() == pytest.approx(1)
        assert normalise_mean(disagree).norm().item() == pytest.approx(0.5**0.5)

    def test_one_template_is_itself(self) -> None:
        row = torch.tensor([[3.0, 4.0]])
        for name, function in AVERAGINGS.items():
            expected = row[0] if name == 'mean' else torch.tensor([0.6, 0.8])
            torch.testing.assert_close(function(row), expected)


class TestMaxOverSynonyms:
    def test_formula_in_numpy(self) -> None:
        scores = torch.randn(5, 6) - 3  # below zero: an empty start must not win
        expected = np.stack([scores.numpy()[:, WORD_OF_S.numpy() == word].max(axis=1) for word in range(3)], axis=1)
        np.testing.assert_array_equal(max_over_synonyms(scores, WORD_OF_S, 3).numpy(), expected)

    @pytest.mark.parametrize('dim', [1, -3])
    def test_maps(self, dim: int) -> None:
        maps = torch.randn(2, 6, 3, 4)
        flat = maps.permute(0, 2, 3, 1).reshape(-1, 6)
        expected = max_over_synonyms(flat, WORD_OF_S, 3).view(2, 3, 4, 3).permute(0, 3, 1, 2)
        assert torch.equal(max_over_synonyms(maps, WORD_OF_S, 3, dim=dim), expected)

    def test_gradient_reaches_the_highest_name_only(self) -> None:
        scores = torch.tensor([[1.0, 5.0, 3.0, 2.0, 0.0, 4.0]], requires_grad=True)
        (max_over_synonyms(scores, WORD_OF_S, 3) * torch.tensor([[10.0, 20.0, 30.0]])).sum().backward()
        assert scores.grad is not None
        assert scores.grad.tolist() == [[0, 10, 20, 30, 0, 0]]

    def test_gradient_equals_finite_differences(self) -> None:
        scores = torch.randn(3, 6, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: max_over_synonyms(x, WORD_OF_S, 3, dim=1), scores)

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision_and_minus_infinity(self, dtype: torch.dtype) -> None:
        scores = torch.tensor([[-1, -2, float('-inf'), float('-inf'), -3, -1]], dtype=dtype)
        result = max_over_synonyms(scores, WORD_OF_S, 3)
        assert result.dtype == dtype
        assert result.tolist() == [[-1, -1, float('-inf')]]

    @pytest.mark.parametrize(
        ('words', 'num_words', 'message'),
        [
            ([0, 0, 2], 3, 'word 1 of 3'),
            ([0, 1], 2, r'each of the 3 names'),
            ([0, 1, 2], 2, 'a word from 0 to 1'),
            ([0, -1, 1], 2, 'a word from 0 to 1'),
        ],
    )
    def test_mistakes(self, words: list[int], num_words: int, message: str) -> None:
        with pytest.raises(VocabularyError, match=message):
            max_over_synonyms(torch.zeros(4, 3), torch.tensor(words), num_words)


class TestMeanOverSynonyms:
    @pytest.mark.parametrize('renormalise', [True, False])
    def test_formula_in_numpy(self, renormalise: bool) -> None:
        text = torch.randn(6, 4)
        mean = np.stack([text.numpy()[WORD_OF_S.numpy() == word].mean(axis=0) for word in range(3)])
        result = mean_over_synonyms(text, WORD_OF_S, 3, renormalise=renormalise)
        np.testing.assert_allclose(result.numpy(), unit(mean) if renormalise else mean, atol=1e-6)

    def test_zegformer_takes_names_and_templates_together(self, encoded: torch.Tensor) -> None:
        names = encoded[0, :3]  # 3 names, 5 templates, D 7
        result = mean_over_synonyms(normalise_mean(names), torch.zeros(3, dtype=torch.long), 1, renormalise=True)
        joint = unit(unit(names.double().numpy()).reshape(15, 7).mean(axis=0))
        np.testing.assert_allclose(result[0].numpy(), joint, atol=1e-6)

    def test_gradient(self) -> None:
        text = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: mean_over_synonyms(x, WORD_OF_S, 3, renormalise=True), text)

    def test_word_without_name(self) -> None:
        with pytest.raises(VocabularyError, match='word 3 of 4'):
            mean_over_synonyms(torch.zeros(6, 2), WORD_OF_S, 4, renormalise=False)
