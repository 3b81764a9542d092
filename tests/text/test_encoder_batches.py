"""A text's row has the same bits whatever company it is encoded in."""

import random

import pytest
import torch

from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.text.encoders import BridgedTextEncoder, OpenClipTextEncoder
from vlm_dense.text.encoders.batching import bucket_length, rows_in_fixed_batches
from vlm_dense.text.encoders.sentence import SentenceEncoder

NOUNS = ['cat', 'traffic light', 'owl', 'säge', 'giraffe', 'saxophone', 'remote control', 'x']
TEXTS = [f'{kind} {noun}{end}' for kind in ('a', 'a photo of the very', 'my old', 'no', '') for noun in NOUNS
         for end in ('', '.', ' in the snow', ' that I saw today', '!')]  # fmt: skip


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('kind', ['clip', 'minilm', 'bridged'])
def test_row_does_not_depend_on_the_other_texts(kind: str, threads: int, tiny_clip: str, bridge_cache: str) -> None:
    torch.set_num_threads(threads)
    encoder = {
        'clip': lambda: OpenClipTextEncoder(tiny_clip),
        'minilm': SentenceEncoder,
        'bridged': lambda: BridgedTextEncoder(cache_dir=bridge_cache),
    }[kind]()
    texts = TEXTS[:40] if kind == 'bridged' else TEXTS
    rows = encoder.encode(texts)
    order = random.Random(1).sample(range(len(texts)), len(texts))
    assert torch.equal(encoder.encode([texts[item] for item in order]), rows[order])
    for item in (7, 39):
        assert torch.equal(encoder.encode([texts[item]]), rows[item : item + 1])


def test_raw_rows_point_the_same_way(tiny_clip: str) -> None:
    encoder = OpenClipTextEncoder(tiny_clip)
    raw_ND = encoder.encode(TEXTS[:5], normalise=False)
    assert (raw_ND.norm(dim=-1) - 1).abs().min() > 1e-3
    torch.testing.assert_close(raw_ND / raw_ND.norm(dim=-1, keepdim=True), encoder.encode(TEXTS[:5]))


def test_batches_have_one_shape() -> None:
    asked = []

    def run(items: list[int], length: int) -> torch.Tensor:
        asked.append((len(items), length))
        return torch.tensor(items)[:, None].float()

    rows = rows_in_fixed_batches([8, 16, 8, 8, 16], run, 2, 1)
    assert rows.flatten().tolist() == [0, 1, 2, 3, 4]
    assert asked == [(2, 8), (2, 8), (2, 16)]
    assert rows_in_fixed_batches([], run, 2, 7).shape == (0, 7)


@pytest.mark.parametrize(('count', 'length'), [(1, 8), (8, 8), (9, 16), (75, 77), (77, 77)])
def test_bucket_length(count: int, length: int) -> None:
    assert bucket_length(count, 77) == length


def test_counting_tokens_cuts_nothing(tiny_clip: str) -> None:
    encoder = OpenClipTextEncoder(tiny_clip)
    assert encoder.count_tokens(['cat', 'dog ' * 30, '']) == [3, 32, 2]
    assert encoder.max_tokens == 16
    assert encoder._tower is None
    assert SentenceEncoder().count_tokens(['cat', 'dog ' * 300]) == [3, 302]
    assert SentenceEncoder().max_tokens == 256


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        ('cat', "one string, 'cat', was given"),
        (['cat', 3], 'text 2 is 3, not a string'),
        (['a\ud800b'], r"text 1, 'a\\ud800b', holds half a character"),
        (['cat<end_of_text>dog'], 'spells out a token that its tokenizer keeps for itself'),
    ],
)
def test_unreadable_texts(texts: list[str], message: str, tiny_clip: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        OpenClipTextEncoder(tiny_clip).encode(texts)


def test_marks_in_a_text_of_minilm() -> None:
    with pytest.raises(VocabularyError, match=r'keeps for itself \(\[PAD\] or \[CLS\] or \[SEP\]\)'):
        SentenceEncoder().encode(['cat [SEP] dog'])


def test_chunk_size_is_positive(tiny_clip: str) -> None:
    with pytest.raises(ConfigError, match='chunk_size=0 of OpenClipTextEncoder'):
        OpenClipTextEncoder(tiny_clip, chunk_size=0)
