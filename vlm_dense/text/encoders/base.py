"""What every text encoder offers, and the checks that they share."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from vlm_dense.errors import VocabularyError

SHOWN_CHARACTERS = 80


class TextEncoder(Protocol):
    """Maps texts to vectors of one width. The row of a text does not depend, to the last bit, on the other texts.

    ``fingerprint`` names the encoder and its weights: equal fingerprints mean equal vectors.
    """

    @property
    def embed_dim(self) -> int:
        """Width D."""

    @property
    def fingerprint(self) -> str:
        """Names the encoder, its weights and its settings."""

    @property
    def max_tokens(self) -> int:
        """The longest text in tokens, special tokens included."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included and nothing cut."""

    def encode(self, texts: Sequence[str], normalise: bool = True) -> Tensor:
        """Return (N, D) float32 rows on the CPU, one per text, without gradient; of unit length by default.

        Raises:
            VocabularyError: If a text is longer than `max_tokens`.
        """


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what no tokenizer can read.

    Raises:
        VocabularyError: If a text is no string, or half of a surrogate pair stands alone in it.
    """
    if isinstance(texts, str):
        raise VocabularyError(f"one string, '{shorten(texts)}', was given where a list of texts belongs.")
    for row, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise VocabularyError(f'text {row} is {text!r}, not a string. Write it as text.')
        if any('\ud800' <= letter <= '\udfff' for letter in text):
            raise VocabularyError(f'text {row}, {text!a}, holds half a character (a lone surrogate). Remove it.')


def check_token_counts(texts: Sequence[str], counts: Sequence[int], limit: int) -> None:
    """Refuse texts that an encoder would have to cut.

    Args:
        texts: N texts.
        counts: Tokens of each, special tokens included.
        limit: The encoder's context length in tokens.

    Raises:
        VocabularyError: Naming the first text that is too long, its tokens and the limit.
    """
    for text, count in zip(texts, counts, strict=True):
        if count > limit:
            raise VocabularyError(
                f"'{shorten(text)}' takes {count} tokens; this text encoder reads {limit}. "
                'Shorten the word or its prompt.'
            )


def shorten(text: str) -> str:
    """The beginning of a text, for messages."""
    return text if len(text) <= SHOWN_CHARACTERS else f'{text[: SHOWN_CHARACTERS - 3]}...'
