import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.text import BridgedTextEncoder, OpenClipTextEncoder, TextBank, Vocabulary


def test_rows_are_normalised_means_of_normalised_texts(hash_encoder) -> None:
    templates = ['a {}', 'the {}', 'my {}']
    text_KD = TextBank(hash_encoder, templates)(Vocabulary.from_words(['cat', 'dog']))
    for row, word in zip(text_KD.numpy(), ['cat', 'dog'], strict=True):
        texts = hash_encoder.encode([template.format(word) for template in templates]).numpy()
        texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
        mean = texts.mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_one_width_float32_unit_rows(hash_encoder) -> None:
    bank = TextBank(hash_encoder)
    text_KD = bank(Vocabulary.from_words(['a', 'b', 'c']))
    assert text_KD.shape == (3, bank.embed_dim)
    assert text_KD.dtype == torch.float32
    assert not text_KD.requires_grad
    torch.testing.assert_close(text_KD.norm(dim=1), torch.ones(3))


def test_memory_is_keyed_by_words_not_by_flags_or_object(hash_encoder) -> None:
    bank = TextBank(hash_encoder)
    first = bank(Vocabulary.from_words(['a', 'b']))
    assert bank(Vocabulary.from_words(['a', 'b'], base=['a'])) is first
    assert len(hash_encoder.asked) == 2
    assert not torch.equal(bank(Vocabulary.from_words(['b', 'a'])), first)


@pytest.mark.parametrize('kind', ['bridged', 'open_clip'])
def test_permuting_words_permutes_rows_to_the_last_bit(kind: str, tiny_clip: str, bridge_cache: str) -> None:
    encoder = BridgedTextEncoder(3, bridge_cache) if kind == 'bridged' else OpenClipTextEncoder(tiny_clip, chunk_size=3)
    words = ['cat', 'traffic light', 'owl', 'a very long name of a thing', 'säge', 'dog', 'x']
    order = [3, 0, 6, 2, 5, 1, 4]
    text_KD = TextBank(encoder, ['{}', 'a photo of a {}'])(Vocabulary.from_words(words))
    permuted_KD = TextBank(encoder, ['{}', 'a photo of a {}'])(Vocabulary.from_words([words[row] for row in order]))
    assert torch.equal(permuted_KD, text_KD[order])


def test_builds_from_config_and_adds_nothing_to_a_model(tiny_clip: str) -> None:
    config = {'type': 'vlm_dense.TextBank', 'encoder': {'type': 'vlm_dense.OpenClipTextEncoder', 'name': tiny_clip}}
    model = nn.Module()
    model.bank = MODELS.build(config)
    model.bank(Vocabulary.from_words(['cat']))
    assert not model.state_dict()
    assert not list(model.parameters())
    assert torch.equal(
        copy.deepcopy(model).bank(Vocabulary.from_words(['dog'])), model.bank(Vocabulary.from_words(['dog']))
    )


def test_weights_are_not_read_where_the_cache_is_warm(
    tmp_path: Path, bridge_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Vocabulary.from_words(['cat', 'owl'])
    expected = TextBank(BridgedTextEncoder(cache_dir=bridge_cache), cache_dir=str(tmp_path))(words)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError('weights were loaded')

    monkeypatch.setattr('vlm_dense.text.encoders.sentence.SentenceEncoder._load', refuse)
    monkeypatch.setattr('torch.load', refuse)
    assert torch.equal(TextBank(BridgedTextEncoder(), cache_dir=str(tmp_path))(words), expected)


def test_not_an_encoder() -> None:
    with pytest.raises(ConfigError, match='int is no text encoder'):
        TextBank(3)  # type: ignore[arg-type]
