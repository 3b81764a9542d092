"""Words and punctuation of a text, with their places."""

import unicodedata
from dataclasses import dataclass

JOINERS = "'’-‐‑_"  # inside a word: man's, T-shirt, traffic_light


@dataclass(frozen=True)
class Token:
    """A word (``is_word``) or one character of punctuation. ``text`` is case folded; the span is in characters."""

    text: str
    start: int
    end: int
    is_word: bool

    @property
    def has_letter(self) -> bool:
        """Whether it is more than a number."""
        return any(character.isalpha() for character in self.text)


def tokenise(text: str) -> list[Token]:
    """Cut a text of any language at white space and punctuation, in one pass."""
    tokens: list[Token] = []
    start = -1
    for place, character in enumerate(text):
        if _continues_word(text, place, start):
            start = place if start < 0 else start
            continue
        if start >= 0:
            tokens.append(_word(text, start, place))
            start = -1
        if not character.isspace():
            tokens.append(Token(character, place, place + 1, is_word=False))
    if start >= 0:
        tokens.append(_word(text, start, len(text)))
    return tokens


def _continues_word(text: str, place: int, start: int) -> bool:
    if unicodedata.category(text[place])[0] in 'LMN':
        return True
    inside = start >= 0 and place + 1 < len(text)
    return inside and text[place] in JOINERS and unicodedata.category(text[place + 1])[0] in 'LMN'


def _word(text: str, start: int, end: int) -> Token:
    return Token(text[start:end].casefold().replace('’', "'"), start, end, is_word=True)
