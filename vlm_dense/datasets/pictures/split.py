"""Which words are base, which photographs are held out, which backgrounds belong to which part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlm_dense.datasets.pictures.cutouts import CutOut, PictureSource
from vlm_dense.errors import DataError

PARTS = ('train', 'val', 'test')
NOVEL_SHARE = 1 / 3
TEST_BACKGROUND_SHARE = 1 / 4
VAL_BACKGROUND_SHARE = 1 / 8
# uint8 label maps: one value for background, one for ignored pixels.
MOST_WORDS = 254
WORDS_STREAM, BACKGROUNDS_STREAM = 101, 102


@dataclass(frozen=True, eq=False)
class Split:
    """How a source is divided.

    Attributes:
        words: Base words, then novel words, each sorted.
        base: The base words.
        known: The words that the image teacher was trained on.
        photos: Part ('train', 'val', 'test') to word to the cut-outs it may show.
        backgrounds: Part to the names of its backgrounds.
    """

    words: tuple[str, ...]
    base: tuple[str, ...]
    known: tuple[str, ...]
    photos: Mapping[str, Mapping[str, Sequence[CutOut]]]
    backgrounds: Mapping[str, Sequence[str]]

    @property
    def novel(self) -> tuple[str, ...]:
        """The words without any picture in training."""
        return self.words[len(self.base) :]


def split_source(source: PictureSource, known: Sequence[str], seed: int) -> Split:
    """Divide words and backgrounds at random, and photographs by their order.

    A third of the words that the teacher knows and a third of the others become novel. Training sees only base words;
    where one has several photographs the last is kept for val and test, which show it alone. Of novel words val and
    test show every photograph.

    Raises:
        DataError: If there are too few words or backgrounds to split, or too many words for uint8 label maps.
    """
    words = source.words
    if len(words) > MOST_WORDS:
        raise DataError(
            f'{len(words)} words in source {source.name} do not fit uint8 label maps; use at most {MOST_WORDS}.'
        )
    novel = novel_words(words, known, np.random.default_rng([seed, WORDS_STREAM]))
    base = tuple(word for word in words if word not in novel)
    by_word = source.by_word()
    train = {word: by_word[word][:-1] or by_word[word] for word in base}
    shown = {word: by_word[word][-1:] if word in train else by_word[word] for word in words}
    return Split(
        words=base + tuple(sorted(novel)),
        base=base,
        known=tuple(word for word in base + tuple(sorted(novel)) if word in set(known)),
        photos={'train': train, 'val': shown, 'test': shown},
        backgrounds=split_backgrounds(sorted(source.backgrounds), np.random.default_rng([seed, BACKGROUNDS_STREAM])),
    )


def novel_words(words: Sequence[str], known: Sequence[str], rng: np.random.Generator) -> set[str]:
    """Draw a third of the known words and a third of the others (rounded down, but one in all at least).

    Raises:
        DataError: If there are fewer than two words.
    """
    if len(words) < 2:
        raise DataError(f'{len(words)} words cannot be split into base and novel; use at least 2.')
    is_known = [word in set(known) for word in words]
    novel: set[str] = set()
    for stratum in (True, False):
        members = [word for word, flag in zip(words, is_known, strict=True) if flag == stratum]
        novel.update(rng.permutation(members)[: int(len(members) * NOVEL_SHARE)].tolist())
    return novel or {str(rng.choice(words))}


def split_backgrounds(names: Sequence[str], rng: np.random.Generator) -> dict[str, list[str]]:
    """Give a quarter of the backgrounds to test, an eighth to val (each at least one) and the rest to train.

    Raises:
        DataError: If there are fewer than three.
    """
    if len(names) < len(PARTS):
        raise DataError(f'{len(names)} backgrounds cannot be split into {", ".join(PARTS)}; use at least {len(PARTS)}.')
    shuffled = rng.permutation(names).tolist()
    num_test = max(1, round(len(names) * TEST_BACKGROUND_SHARE))
    num_val = max(1, round(len(names) * VAL_BACKGROUND_SHARE))
    return {
        'test': sorted(shuffled[:num_test]),
        'val': sorted(shuffled[num_test : num_test + num_val]),
        'train': sorted(shuffled[num_test + num_val :]),
    }
