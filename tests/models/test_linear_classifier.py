"""The closed-set control cannot name what it was not trained on."""

import pytest
import torch
from detection_parts import RandomWords, box_head, build, vocabulary

from vlm_dense.errors import ConfigError
from vlm_dense.models import LinearClassifier, WordRows

WORDS = dict(words=['ant', 'bee', 'cat', 'dog'], base=['dog', 'bee'])


def test_base_words_get_the_rows_in_their_order() -> None:
    classifier = LinearClassifier(8, WORDS)
    region_ND = torch.randn(5, 8)
    logits_NK = classifier(region_ND, torch.zeros(4, 8), torch.tensor([False, True, False, True]))
    assert torch.equal(logits_NK[:, [1, 3, 4]], classifier.linear(region_ND))
    assert torch.equal(logits_NK[:, [0, 2]], torch.full((5, 2), -torch.inf))


def test_a_void_is_the_last_column() -> None:
    classifier = LinearClassifier(8, WORDS, void=True)
    region_ND = torch.randn(5, 8)
    logits_NK = classifier(region_ND, torch.zeros(4, 8), torch.tensor([False, True, False, True]))
    assert (classifier.has_void, LinearClassifier(8, WORDS).has_void) == (True, False)
    assert torch.equal(logits_NK[:, [1, 3, 4, 5]], classifier.linear(region_ND))
    assert torch.equal(logits_NK[:, [0, 2]], torch.full((5, 2), -torch.inf))


@pytest.mark.parametrize('void', [False, True])
def test_training_has_finite_gradients(void: bool) -> None:
    classifier = LinearClassifier(8, WORDS, void)
    logits_NK = classifier(torch.randn(5, 8), torch.zeros(4, 8), torch.tensor([False, True, False, True]))
    torch.nn.functional.cross_entropy(logits_NK, torch.tensor([1, 3, 4, 4, 1])).backward()
    assert classifier.linear.weight.grad.isfinite().all()
    assert classifier.linear.weight.grad.abs().sum() > 0


def test_novel_words_score_zero_in_the_box_head() -> None:
    control = dict(type='vlm_dense.LinearClassifier', vocabulary=WORDS)
    head = build(box_head(distill='none', classifier=control)).eval()
    asked = vocabulary('ant bee cat dog', 'bee dog')
    rows = WordRows(RandomWords()(asked), torch.tensor(asked.is_base))
    scores_NK = head.scores(head(torch.randn(6, 16, 7, 7)).text_ND, None, rows)
    assert torch.equal(scores_NK[:, [0, 2]], torch.zeros(6, 2))
    assert (scores_NK[:, [1, 3]] > 0).all()


def test_without_base_words_all_is_background() -> None:
    logits_NK = LinearClassifier(8, WORDS)(torch.randn(5, 8), torch.zeros(3, 8), torch.zeros(3, dtype=torch.bool))
    assert torch.equal(logits_NK.softmax(1), torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(5, 4))


@pytest.mark.parametrize('is_base_K', [None, torch.tensor([True, True, True, False])])
def test_other_words_are_refused(is_base_K: torch.Tensor | None) -> None:
    with pytest.raises(ConfigError, match='2 base words'):
        LinearClassifier(8, WORDS)(torch.randn(5, 8), torch.zeros(4, 8), is_base_K)
