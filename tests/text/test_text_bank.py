import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from text_support import HashEncoder
from torch import nn

from vlm_dense.errors import ConfigError, StorageError, VocabularyError
from vlm_dense.registry import MODELS
from vlm_dense.text import BridgedTextEncoder, OpenClipTextEncoder, TextBank, Vocabulary, bank
from vlm_dense.text.averaging import max_over_synonyms

WORDS = Vocabulary.from_words(['cat', 'dog', 'owl'])
TEMPLATES = ['a {}', 'the {}', 'my {}']


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def cached_bank(hash_encoder, tmp_path: Path) -> TextBank:
    return TextBank(hash_encoder, 'single', cache_dir=str(tmp_path / 'cache'))


def again(cached: TextBank) -> TextBank:
    return TextBank(cached.encoder, cached.prompt, cache_dir=str(cached.cache_dir))


@pytest.mark.parametrize('averaging', ['normalise_mean_normalise', 'mean_normalise', 'normalise_mean'])
def test_rows_average_the_texts_of_their_word(hash_encoder, averaging: str) -> None:
    text_KD = TextBank(hash_encoder, TEMPLATES, averaging, cache_dir=None)(WORDS)
    for row, word in zip(text_KD.numpy(), WORDS.words, strict=True):
        texts = hash_encoder.encode([template.format(word) for template in TEMPLATES], normalise=False).numpy()
        expected = (texts if averaging == 'mean_normalise' else unit(texts)).mean(axis=0)
        np.testing.assert_allclose(row, expected if averaging == 'normalise_mean' else unit(expected), atol=1e-6)


def test_raw_rows_of_one_template_have_a_cache_of_their_own(hash_encoder, tmp_path: Path) -> None:
    banks = [
        TextBank(hash_encoder, '{}', averaging, cache_dir=str(tmp_path)) for averaging in ('mean_normalise', 'mean')
    ]
    unit_KD, raw_KD = (bank(WORDS) for bank in banks)
    assert torch.equal(raw_KD, hash_encoder.encode(WORDS.words, normalise=False))
    assert (unit_KD - raw_KD).abs().max() > 1
    assert banks[0].cache_file(WORDS) != banks[1].cache_file(WORDS)


def test_width_type_and_length(hash_encoder) -> None:
    text_KD = TextBank(hash_encoder, cache_dir=None)(WORDS)
    assert text_KD.shape == (3, hash_encoder.embed_dim)
    assert text_KD.dtype == torch.float32
    assert not text_KD.requires_grad
    torch.testing.assert_close(text_KD.norm(dim=1), torch.ones(3))


def test_memory_is_keyed_by_words_not_by_flags_or_object(hash_encoder) -> None:
    text_bank = TextBank(hash_encoder, cache_dir=None)
    first = text_bank(Vocabulary.from_words(['a', 'b']))
    assert text_bank(Vocabulary.from_words(['a', 'b'], base=['a'])) is first
    assert len(hash_encoder.asked) == 2
    assert not torch.equal(text_bank(Vocabulary.from_words(['b', 'a'])), first)


def test_memory_forgets_the_vocabulary_not_asked_for_longest(hash_encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, 'VOCABULARIES_IN_MEMORY', 2)
    text_bank = TextBank(hash_encoder, cache_dir=None)
    for words in (['a'], ['b'], ['a'], ['c'], ['a'], ['b']):
        text_bank(Vocabulary.from_words(words))
    assert [text.split()[-1].rstrip('.') for text in hash_encoder.asked] == ['a', 'b', 'c', 'b']


@pytest.mark.parametrize('kind', ['bridged', 'open_clip'])
def test_a_row_depends_on_its_word_alone_to_the_last_bit(kind: str, tiny_clip: str, bridge_cache: str) -> None:
    encoder = BridgedTextEncoder(cache_dir=bridge_cache) if kind == 'bridged' else OpenClipTextEncoder(tiny_clip)
    words = ['cat', 'traffic light', 'owl', 'a very long name of a thing', 'säge', 'dog', 'x']
    order = [3, 0, 6, 2, 5, 1, 4]

    def rows(asked: list[str]) -> torch.Tensor:
        return TextBank(encoder, ['{}', 'a photo of a {}'], cache_dir=None)(Vocabulary.from_words(asked))

    text_KD = rows(words)
    assert torch.equal(rows([words[row] for row in order]), text_KD[order])
    assert torch.equal(rows([*words, *(f'thing {i}' for i in range(90))])[: len(words)], text_KD)
    for row, word in enumerate(words):
        assert torch.equal(rows([word])[0], text_KD[row])


@given(st.lists(st.text(max_size=12), max_size=5), st.lists(st.text(max_size=12), min_size=1, max_size=5), st.randoms())
@settings(max_examples=60, deadline=None)
def test_any_words_are_embedded_alike_in_any_company_or_refused(more, words, randoms) -> None:
    """Caches, order and further words change no row; what cannot be used raises our error."""
    try:
        asked, longer = Vocabulary.from_words(words), Vocabulary.from_words([*words, *more])
        text_KD = TextBank(HashEncoder(), cache_dir=None)(asked)
    except VocabularyError:
        return
    assert torch.equal(TextBank(HashEncoder(), cache_dir=None)(longer)[: len(words)], text_KD)
    order = list(range(len(words)))
    randoms.shuffle(order)
    permuted = Vocabulary.from_words([words[row] for row in order])
    assert torch.equal(TextBank(HashEncoder(), cache_dir=None)(permuted), text_KD[order])


def test_synonyms_join_the_average_or_stay_apart(hash_encoder) -> None:
    vocabulary = Vocabulary(('cat', 'dog'), (False, False), synonyms=((), ('hound', 'puppy')))
    mean_KD = TextBank(hash_encoder, TEMPLATES, synonyms='mean', cache_dir=None)(vocabulary)
    texts = [template.format(name) for name in ('dog', 'hound', 'puppy') for template in TEMPLATES]
    expected = unit(unit(hash_encoder.encode(texts).numpy()).mean(axis=0))
    np.testing.assert_allclose(mean_KD[1].numpy(), expected, atol=1e-6)

    text_bank = TextBank(hash_encoder, TEMPLATES, cache_dir=None)
    name_SD, word_S = text_bank.rows_of_names(vocabulary)
    assert word_S.tolist() == [0, 1, 1, 1]
    assert torch.equal(name_SD[:2], text_bank(vocabulary))
    assert torch.equal(name_SD[2:], text_bank(Vocabulary.from_words(['hound', 'puppy'])))
    best_NK = max_over_synonyms(name_SD @ name_SD.T, word_S, 2)
    assert best_NK[3, 1] == pytest.approx(1)


def test_definitions_reach_the_prompt(hash_encoder) -> None:
    vocabulary = Vocabulary(('cat',), (False,), definitions=('a pet that purrs',))
    TextBank(hash_encoder, '{}, which is {definition}.', cache_dir=None)(vocabulary)
    assert hash_encoder.asked == ['cat, which is a pet that purrs.']
    with pytest.raises(VocabularyError, match='cat'):
        TextBank(hash_encoder, '{}, which is {definition}.', cache_dir=None)(Vocabulary.from_words(['cat']))


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


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'bfloat16'])
def test_a_cached_bank_equals_a_fresh_one_to_the_last_bit(hash_encoder, tmp_path: Path, dtype: str) -> None:
    fresh = TextBank(hash_encoder, dtype=dtype, cache_dir=None)(WORDS)
    first = TextBank(hash_encoder, dtype=dtype, cache_dir=str(tmp_path))(WORDS)
    asked = len(hash_encoder.asked)
    second = TextBank(hash_encoder, dtype=dtype, cache_dir=str(tmp_path))(WORDS)
    assert len(hash_encoder.asked) == asked
    assert fresh.dtype == getattr(torch, dtype)
    assert torch.equal(first, fresh)
    assert torch.equal(second, fresh)


def test_only_new_words_are_encoded(cached_bank: TextBank) -> None:
    cached_bank(WORDS)
    del cached_bank.encoder.asked[:]
    changed = Vocabulary.from_words(['owl', 'eagle', 'cat', 'dog'])
    text_KD = again(cached_bank)(changed)
    assert cached_bank.encoder.asked == ['a photo of a eagle.'] or cached_bank.encoder.asked == ['a photo of an eagle.']
    assert torch.equal(text_KD, TextBank(cached_bank.encoder, 'single', cache_dir=None)(changed))


def test_the_file_knows_encoder_prompt_averaging_type_and_words(hash_encoder, tmp_path: Path) -> None:
    other = type(hash_encoder)('other weights')
    words, swapped, joined = (Vocabulary.from_words(w) for w in (['a', 'b'], ['b', 'a'], ['a b']))
    files = {
        TextBank(encoder, cache_dir=str(tmp_path), **options).cache_file(asked)
        for encoder, options, asked in [
            (hash_encoder, {}, words),
            (other, {}, words),
            (hash_encoder, dict(prompt='name'), words),
            (hash_encoder, dict(averaging='mean_normalise'), words),
            (hash_encoder, dict(dtype='float16'), words),
            (hash_encoder, {}, swapped),
            (hash_encoder, {}, joined),
        ]
    }
    assert len(files) == 7


def test_a_damaged_bank_is_made_again(cached_bank: TextBank, caplog: pytest.LogCaptureFixture) -> None:
    expected = cached_bank(WORDS).clone()
    path = cached_bank.cache_file(WORDS)
    content = bytearray(path.read_bytes())
    content[-60] ^= 1
    path.write_bytes(content)
    assert torch.equal(again(cached_bank)(WORDS), expected)
    assert 'made again' in caplog.text
    caplog.clear()
    assert torch.equal(again(cached_bank)(WORDS), expected)
    assert not caplog.records


def test_default_cache_follows_the_environment(hash_encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('VLM_DENSE_CACHE', str(tmp_path / 'here'))
    text_bank = TextBank(hash_encoder)
    text_bank(WORDS)
    assert text_bank.cache_file(WORDS).is_relative_to(tmp_path / 'here' / 'text')
    assert text_bank.cache_file(WORDS).is_file()


def test_weights_are_not_read_where_the_cache_is_warm(
    tmp_path: Path, bridge_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Vocabulary.from_words(['cat', 'owl'])
    expected = TextBank(BridgedTextEncoder(cache_dir=bridge_cache), cache_dir=str(tmp_path))(words)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError('weights were loaded')

    monkeypatch.setattr('torch.load', refuse)
    monkeypatch.setattr('transformers.AutoModel.from_pretrained', refuse)
    assert torch.equal(TextBank(BridgedTextEncoder(), cache_dir=str(tmp_path))(words), expected)


MANY = """
import sys, time
sys.path.insert(0, {tests!r})
from text_support import HashEncoder
from vlm_dense.text import TextBank, Vocabulary, bank
bank.TEXTS_PER_PART = 50

class Slow(HashEncoder):
    def encode(self, texts, normalise=True):
        time.sleep({pause})
        print('encoded', len(texts), flush=True)
        return super().encode(texts, normalise)

text_KD = TextBank(Slow(), 'name', cache_dir=sys.argv[1])(Vocabulary.from_words([f'w{{i}}' for i in range(400)]))
print('sum', repr(text_KD.double().sum().item()), flush=True)
"""


def start(folder: Path, pause: float) -> subprocess.Popen:
    script = MANY.format(tests=str(Path(__file__).parent), pause=pause)
    return subprocess.Popen([sys.executable, '-c', script, str(folder)], stdout=subprocess.PIPE, text=True)


def encoded(output: str) -> int:
    return sum(int(line.split()[1]) for line in output.splitlines() if line.startswith('encoded'))


def test_a_killed_bank_goes_on_where_it_was(tmp_path: Path) -> None:
    killed = start(tmp_path, 0.3)
    for _ in range(3):
        killed.stdout.readline()
    time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    output, _ = start(tmp_path, 0).communicate(timeout=60)
    assert 0 < encoded(output) <= 300
    fresh, _ = start(tmp_path / 'fresh', 0).communicate(timeout=60)
    assert encoded(fresh) == 400
    assert output.splitlines()[-1] == fresh.splitlines()[-1]
    (space,) = [folder for folder in tmp_path.iterdir() if folder.name != 'fresh']
    assert len(list(space.glob('*.safetensors'))) == 1


def test_of_two_processes_one_encodes(tmp_path: Path) -> None:
    outputs = [process.communicate(timeout=60)[0] for process in (start(tmp_path, 0.05), start(tmp_path, 0.05))]
    assert sorted(encoded(output) for output in outputs) == [0, 400]
    assert len({output.splitlines()[-1] for output in outputs}) == 1


def test_cache_dir_is_a_file(hash_encoder, tmp_path: Path) -> None:
    (tmp_path / 'cache').write_text('')
    with pytest.raises(StorageError, match='cannot be cached'):
        TextBank(hash_encoder, 'single', cache_dir=str(tmp_path / 'cache'))(WORDS)


@pytest.mark.skipif(os.geteuid() == 0, reason='root writes anywhere')
def test_cache_dir_is_read_only(hash_encoder, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(StorageError, match='cannot be cached'):
        TextBank(hash_encoder, 'single', cache_dir=str(tmp_path / 'cache'))(WORDS)


@pytest.mark.parametrize(
    ('wrong', 'named'),
    [
        (dict(averaging='median'), 'averaging'),
        (dict(synonyms='max'), 'synonyms'),
        (dict(dtype='int8'), 'dtype'),
    ],
)
def test_wrong_switches_are_named(hash_encoder, wrong: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        TextBank(hash_encoder, **wrong)


def test_not_an_encoder() -> None:
    with pytest.raises(ConfigError, match='int is no text encoder'):
        TextBank(3)  # type: ignore[arg-type]


def test_a_vocabulary_asked_again_writes_no_texts(hash_encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models ask at every step."""
    text_bank = TextBank(hash_encoder, cache_dir=None)
    vocabulary = Vocabulary(('cat', 'dog'), (False, False), synonyms=((), ('hound',)))
    first, (names, _) = text_bank(vocabulary), text_bank.rows_of_names(vocabulary)

    def refuse(*args: object) -> None:
        raise AssertionError('texts were written again')

    monkeypatch.setattr(type(text_bank.prompts), 'texts', refuse)
    assert text_bank(Vocabulary(('cat', 'dog'), (True, False))) is first
    assert text_bank.rows_of_names(vocabulary)[0] is names
