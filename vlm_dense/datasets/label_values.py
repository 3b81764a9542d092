"""What the numbers of a label map mean: on disk, and as indices into the words of a request."""

from collections.abc import Sequence

import numpy as np

from vlm_dense.errors import ConfigError

IGNORED_8_BIT, IGNORED_16_BIT = 255, 65535
NUM_VALUES = 65536
REFUSED = -1


def ignore_label(num_words: int) -> int:
    """The label of pixels that count for nothing: 255, or 65535 where 255 is a word or the background.

    Args:
        num_words: How many words the labels index; the number behind the last is the background's.
    """
    return IGNORED_8_BIT if num_words < IGNORED_8_BIT else IGNORED_16_BIT


def background_value(num_words: int, first_label: int) -> int:
    """The number of the background on disk: before the words, or behind them where they begin at 0."""
    return first_label - 1 if first_label else num_words


def label_table(label_of_word: Sequence[int], first_label: int, background: int | None, ignored: int) -> np.ndarray:
    """The label of every number that a map may hold on disk.

    Numbers before the words and 255 or 65535, where they stand for nothing else, become ``ignored``.

    Args:
        label_of_word: Label of each word that the maps count, in the maps' order.
        first_label: Number of the first word on disk.
        background: Label of the background, None where the maps have none.
        ignored: Label of pixels that count for nothing.

    Returns:
        (65536,) int32; `REFUSED` for numbers that mean nothing.

    Raises:
        ConfigError: If the words do not fit 16 bits.
    """
    last = first_label + len(label_of_word)
    if first_label < 0 or last >= IGNORED_16_BIT:
        raise ConfigError(
            f'{len(label_of_word)} words from first_label={first_label} on do not fit 16-bit label maps with 65535 as '
            'ignored; correct first_label or the words.'
        )
    table_V = np.full(NUM_VALUES, REFUSED, dtype=np.int32)
    table_V[[*range(first_label), IGNORED_8_BIT, IGNORED_16_BIT]] = ignored
    if background is not None:
        table_V[background_value(len(label_of_word), first_label)] = background
    table_V[first_label:last] = label_of_word
    return table_V
