import pytest
import torch

from vlm_dense.registry import MODELS
from vlm_dense.text import DrawnPromptBank, TextBank, Vocabulary, load_prompts

TEMPLATES = ['a {}.', 'the {}.', '{}!']
WORDS = ['cat', 'red dog', 'cat']


def test_every_row_is_one_of_the_templates_and_all_occur(hash_encoder) -> None:
    bank = DrawnPromptBank(TextBank(hash_encoder, averaging='mean', cache_dir=None), TEMPLATES)
    found = set()
    for _ in range(40):
        for word, row_D in zip(WORDS, bank.draw(WORDS), strict=True):
            raw_TD = hash_encoder.encode([template.format(word) for template in TEMPLATES], normalise=False)
            matches = [(word, t) for t in range(3) if torch.equal(raw_TD[t], row_D)]
            assert len(matches) == 1
            found.update(matches)
    assert len(found) == 6


def test_rows_are_averaged_as_the_bank_does(hash_encoder) -> None:
    bank = DrawnPromptBank(TextBank(hash_encoder, cache_dir=None), TEMPLATES)
    torch.testing.assert_close(bank.draw(WORDS).norm(dim=1), torch.ones(3))


def test_each_text_is_encoded_once(hash_encoder) -> None:
    bank = DrawnPromptBank(TextBank(hash_encoder, cache_dir=None), ['a {}.'])
    for _ in range(3):
        bank.draw(WORDS)
    assert hash_encoder.asked == ['a cat.', 'a red dog.']


def test_memory_is_bounded(hash_encoder) -> None:
    bank = DrawnPromptBank(TextBank(hash_encoder, cache_dir=None), ['{}'], rows_in_memory=2)
    bank.draw(['a', 'b', 'a', 'c'])
    bank.draw(['a', 'c'])
    assert hash_encoder.asked == ['a', 'b', 'c']
    bank.draw(['b'])
    assert hash_encoder.asked == ['a', 'b', 'c', 'b']


def test_the_same_seed_draws_the_same(hash_encoder) -> None:
    bank = DrawnPromptBank(TextBank(hash_encoder, cache_dir=None), 'clipseg-9')
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(bank.draw(['cat'] * 20))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_ordinary_requests_use_the_prompt_of_the_bank(hash_encoder) -> None:
    inner = TextBank(hash_encoder, 'single', cache_dir=None)
    bank = DrawnPromptBank(inner, TEMPLATES)
    vocabulary = Vocabulary.from_words(['cat', 'dog'])
    assert torch.equal(bank(vocabulary), inner(vocabulary))
    assert bank.embed_dim == inner.embed_dim


def test_builds_from_config(tiny_clip: str) -> None:
    inner = {'type': 'vlm_dense.TextBank', 'encoder': {'type': 'vlm_dense.OpenClipTextEncoder', 'name': tiny_clip}}
    bank = MODELS.build({'type': 'vlm_dense.DrawnPromptBank', 'bank': {**inner, 'averaging': 'mean'}, 'prompts': '{}'})
    raw = bank.draw(['cat'])
    torch.testing.assert_close(bank.bank.encoder.encode(['cat'], normalise=False), raw)
    assert raw.norm().item() != pytest.approx(1, abs=1e-3)
    assert len(load_prompts('clipseg_9').templates) == 9
