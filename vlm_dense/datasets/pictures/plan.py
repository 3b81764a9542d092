"""Which words meet in which scene."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlm_dense.datasets.pictures.split import PARTS, Split

FEWEST_OBJECTS, MOST_OBJECTS = 2, 4
# In val and test; the other scenes show only novel words, so no scene mixes both.
BASE_SCENE_SHARE = 0.4
PLAN_STREAM, SCENE_STREAM = 200, 300


@dataclass(frozen=True)
class ScenePlan:
    """One scene to be made.

    Attributes:
        part: 'train', 'val' or 'test'.
        index: Its number within the part, from 0.
        words: What it shows, all different.
        seed: Seeds of its own random generator, so that scenes do not depend on each other.
    """

    part: str
    index: int
    words: tuple[str, ...]
    seed: tuple[int, ...]


def plan_scenes(split: Split, part: str, count: int, seed: int) -> list[ScenePlan]:
    """Deal words to the scenes of a part, each word about equally often.

    Args:
        split: The divided source.
        part: 'train' (base words only), 'val' or 'test' (40 % of the scenes base, the others novel words).
        count: Number of scenes.
        seed: Seed of the whole set.
    """
    number = PARTS.index(part)
    rng = np.random.default_rng([seed, PLAN_STREAM, number])
    num_base = count if part == 'train' else round(count * BASE_SCENE_SHARE)
    is_base = rng.permutation(np.arange(count) < num_base)
    decks = {True: _deal(split.base, rng), False: _deal(split.novel, rng)}
    plans = []
    for index in range(count):
        words = split.base if is_base[index] else split.novel
        wanted = min(int(rng.integers(FEWEST_OBJECTS, MOST_OBJECTS + 1)), len(words))
        chosen = _draw_distinct(decks[bool(is_base[index])], wanted)
        plans.append(ScenePlan(part, index, chosen, (seed, SCENE_STREAM, number, index)))
    return plans


def _deal(words: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from rng.permutation(words).tolist()


def _draw_distinct(deck: Iterator[str], count: int) -> tuple[str, ...]:
    hand: list[str] = []
    while len(hand) < count:
        word = next(deck)
        if word not in hand:
            hand.append(word)
    return tuple(hand)
