"""One text that asks for several words, and where each of them stands in it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One text.

    Args:
        text: What the language model reads.
        rows: The vocabulary's rows that it asks for.
        spans: Of each row, the characters (end excluded) where the word stands in the text.
    """

    text: str
    rows: tuple[int, ...]
    spans: tuple[tuple[tuple[int, int], ...], ...]


def caption_prompt(text: str, spans: Sequence[Sequence[tuple[int, int]]]) -> Prompt:
    """The prompt of a caption whose phrases are the vocabulary, row by row.

    Args:
        text: The caption.
        spans: Of each phrase, the characters (end excluded) where it stands.
    """
    return Prompt(
        text, tuple(range(len(spans))), tuple(tuple((start, end) for start, end in places) for places in spans)
    )
