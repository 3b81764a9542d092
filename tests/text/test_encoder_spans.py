"""Tokens know the characters that they stand for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import get_clean_fn

from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.text.encoders.spans import trace_characters
from vlm_dense.text.encoders.tokens import ClipTokenizer, HubTokenizer

CLIP = ClipTokenizer(open_clip.get_tokenizer('ViT-B-32'))


def pieces(text: str, tokenizer: Any = CLIP) -> list[str]:
    return [text[slice(*span)] for span in tokenizer.tokens(text).spans if span is not None]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('A photo  of\ta CAT.', ['A', 'photo', 'of', 'a', 'CAT', '.']),
        ("  don't  ", ['don', "'t"]),
        ('saxophonist\u0020owl', ['saxophon', 'ist', 'owl']),
        ('don\u2019t stop', ['don\u2019t', 'don\u2019t', 'stop']),  # the quote is straightened: widened to the word
        ('salt &amp; owl', ['salt', '&amp;', 'owl']),
        (
            '\u0130zmir owl',
            ['\u0130', '\u0130', 'z', 'mir', 'owl'],
        ),  # lower-case of the capital dotted i has two letters
        ('\u039f\u03a3 owl', None),
        ('', []),
    ],
)
def test_characters_of_clip_tokens(text: str, expected: list[str] | None) -> None:
    found = pieces(text)
    if expected is not None:
        assert found == expected
    assert CLIP.tokens(text).ids == tuple(CLIP.ids([text])[0])


def test_letters_of_several_tokens() -> None:
    assert pieces('\u732b')[0] == '\u732b'  # its bytes are two tokens or more, each of which is the whole letter
    assert set(pieces('\u732b')) == {'\u732b'}


def test_text_mended_across_words_is_an_error() -> None:
    text = 'a \xe2\x80 \x9d b'
    cleaned = get_clean_fn('lower')(text)
    words = ' '.join(get_clean_fn('lower')(word) for word in text.split())
    if words == cleaned:
        pytest.skip('this ftfy mends it word by word')
    with pytest.raises(VocabularyError, match='cannot be traced to its characters: it is read as'):
        CLIP.tokens(text)


def test_error_names_the_text_as_it_is_read() -> None:
    with pytest.raises(VocabularyError, match=r"tokens of 'a b' cannot be traced .* it is read as 'a\+b'"):
        trace_characters('a b', lambda text: text.replace(' ', '+'))


def test_punctuation_that_is_dropped() -> None:
    text = 'The Traffic_light, &amp; (owl)'
    cleaned, spans = trace_characters(text, get_clean_fn('canonicalize'))
    assert cleaned == 'the traffic light owl'
    letters = [text[slice(*span)] for span, letter in zip(spans, cleaned, strict=True) if letter != ' ']
    assert ''.join(letters) == 'TheTrafficlightowl'


@given(st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        ids = CLIP.ids([text])[0]
        tokens = CLIP.tokens(text)
    except VocabularyError:
        return
    assert tokens.ids == tuple(ids)
    spans = [span for span in tokens.spans if span is not None]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


@pytest.mark.parametrize('kind', ['bert', 'roberta', 'xlm-roberta', 'mt5'])
@pytest.mark.parametrize('clean', [None, 'whitespace'])
def test_characters_of_hub_tokens(kind: str, clean: str | None, hf_folder: Callable[[str], Path]) -> None:
    from transformers import AutoTokenizer

    inner = AutoTokenizer.from_pretrained(hf_folder(kind))
    tokenizer = HubTokenizer(inner, 32, clean and get_clean_fn(clean))
    text = 'a  photo of two dogs. '
    tokens = tokenizer.tokens(text)
    assert tokens.ids == tuple(tokenizer.ids([text])[0])
    assert ''.join(pieces(text, tokenizer)) == 'aphotooftwodogs.'
    specials = {'bert': 2, 'roberta': 2, 'xlm-roberta': 2, 'mt5': 1}[kind]
    assert sum(span is None for span in tokens.spans) >= specials
    assert tokens.spans[-1] is None


def test_tokenizer_without_offsets() -> None:
    class Slow:
        is_fast = False
        sep_token_id = pad_token_id = cls_token_id = bos_token_id = eos_token_id = None
        padding_side = 'right'

        def __call__(self, text: str, verbose: bool) -> Any:
            return type('Found', (), {'input_ids': []})

    with pytest.raises(ConfigError, match='Slow tells no character spans'):
        HubTokenizer(Slow(), 8).tokens('cat')
