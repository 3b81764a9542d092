"""Where the characters of a cleaned text stood in the text that the caller wrote."""

import re
import string
from collections.abc import Callable, Sequence

from vlm_dense.errors import VocabularyError
from vlm_dense.text.encoders.base import shorten

Span = tuple[int, int]  # first character and one past the last, in the caller's string

WORD = re.compile(r'\S+')
SIGMAS = {'σ', 'ς'}  # lower case of Σ inside and at the end of a word


def trace_characters(text: str, clean: Callable[[str], str]) -> tuple[str, list[Span]]:
    """Clean a text and find the origin of every character that is left.

    Lower-casing, white space and dropped punctuation are followed letter by letter. Where cleaning rewrites a word
    (HTML entities, mended encodings, curly quotes), its letters all stand for the whole word.

    Args:
        text: The caller's text.
        clean: What a tokenizer does first.

    Returns:
        The cleaned text and one span per character; the span of white space has no meaning.

    Raises:
        VocabularyError: If cleaning depends on more than one word, so that nothing can be traced.
    """
    cleaned = clean(text)
    pieces: list[str] = []
    spans: list[Span] = []
    for match in WORD.finditer(text):
        piece = clean(match.group())
        if piece:
            spans.extend([(0, 0)] if pieces else [])
            pieces.append(piece)
            spans.extend(_trace_word(match.group(), match.start(), piece))
    if ' '.join(pieces) != cleaned:
        raise VocabularyError(
            f"the tokens of '{shorten(text)}' cannot be traced to its characters: it is read as "
            f"'{shorten(cleaned)}'. Write it like this."
        )
    return cleaned, spans


def join_spans(spans: Sequence[Span], cleaned: str, start: int, end: int) -> Span | None:
    """The caller's span of the characters ``start`` to ``end`` of a cleaned text; None where they are all blank."""
    covered = [spans[index] for index in range(start, end) if not cleaned[index].isspace()]
    return (min(first for first, _ in covered), max(last for _, last in covered)) if covered else None


def _trace_word(word: str, start: int, piece: str) -> list[Span]:
    kept = [letter for letter in piece if not letter.isspace()]
    for letters in (_as_written, _lowered, _without_punctuation):
        origins = letters(word)
        if len(origins) == len(kept) and all(_same(a, b) for a, (b, _) in zip(kept, origins, strict=True)):
            places = iter(start + index for _, index in origins)
            return [(0, 0) if letter.isspace() else (place := next(places), place + 1) for letter in piece]
    return [(start, start + len(word))] * len(piece)


def _as_written(word: str) -> list[tuple[str, int]]:
    return [(letter, index) for index, letter in enumerate(word)]


def _lowered(word: str) -> list[tuple[str, int]]:
    return [(low, index) for index, letter in enumerate(word) for low in letter.lower()]


def _without_punctuation(word: str) -> list[tuple[str, int]]:
    return [(letter, index) for letter, index in _lowered(word) if letter not in string.punctuation]


def _same(one: str, other: str) -> bool:
    return one == other or {one, other} == SIGMAS
