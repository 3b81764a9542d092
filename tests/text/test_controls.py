import pytest
import torch

from vlm_dense.errors import VocabularyError
from vlm_dense.registry import MODELS
from vlm_dense.text import ShuffledBank, TextBank, Vocabulary

WORDS = Vocabulary.from_words(['f', 'b', 'c', 'd', 'e', 'a'], base=['b', 'e'])


@pytest.mark.parametrize('seed', range(6))
def test_novel_rows_change_places_and_base_rows_stay(hash_encoder, seed: int) -> None:
    bank = TextBank(hash_encoder)
    true_KD, shuffled_KD = bank(WORDS), ShuffledBank(bank, seed)(WORDS)
    base = torch.tensor(WORDS.is_base)
    assert torch.equal(shuffled_KD[base], true_KD[base])
    taken = [next(row for row in range(6) if torch.equal(true_KD[row], vector)) for vector in shuffled_KD]
    assert sorted(taken) == list(range(6))
    assert all(taken[row] != row for row in range(6) if not WORDS.is_base[row])


def test_seed_decides(hash_encoder) -> None:
    bank = TextBank(hash_encoder)
    shuffles = [ShuffledBank(bank, seed)(WORDS) for seed in range(6)]
    assert torch.equal(shuffles[2], ShuffledBank(bank, 2)(WORDS))
    assert any(not torch.equal(shuffles[0], other) for other in shuffles[1:])


def test_order_of_words_does_not_matter(hash_encoder) -> None:
    bank = ShuffledBank(TextBank(hash_encoder), seed=1)
    order = [5, 2, 0, 1, 4, 3]
    permuted = Vocabulary.from_words([WORDS.words[row] for row in order], base=['b', 'e'])
    assert torch.equal(bank(permuted), bank(WORDS)[order])


def test_too_few_novel_words(hash_encoder) -> None:
    bank = TextBank(hash_encoder)
    base_only = WORDS.select(is_base=True)
    assert torch.equal(ShuffledBank(bank)(base_only), bank(base_only))
    with pytest.raises(VocabularyError, match="'a' is the only novel word"):
        ShuffledBank(bank)(Vocabulary.from_words(['a', 'b'], base=['b']))


def test_builds_from_config(tiny_clip: str) -> None:
    inner = {'type': 'vlm_dense.TextBank', 'encoder': {'type': 'vlm_dense.OpenClipTextEncoder', 'name': tiny_clip}}
    bank = MODELS.build({'type': 'vlm_dense.ShuffledBank', 'bank': inner, 'seed': 3})
    assert bank.embed_dim == 32
    assert bank(WORDS).shape == (6, 32)
