"""Lists of pictures with the class that is looked for, and the episodes that are drawn from them.

A list has one line per picture and class, ``NAME__CC``: the picture's path without ``.jpg``, two underscores, and the
class's number in the label maps. These are the lists of HSNet (arXiv:2104.01538) for PASCAL-5i. Lines that begin with
``#`` are comments.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from vlm_dense.errors import ConfigError, DataError, MissingFileError

FOLDS = 4
PART_FILES = 'fold*.txt'
Layout = Literal['blocks', 'stride']
Draw = Literal['all', 'cycle', 'classes']


class Pair(NamedTuple):
    """A picture and a class that it shows.

    Args:
        name: Path of the picture, without its ending.
        number: Of the class in the label map.
    """

    name: str
    number: int


def fold_numbers(fold: int, num_classes: int, layout: Layout) -> tuple[int, ...]:
    """The classes of a fold, by their numbers from 1 on.

    Args:
        fold: 0 to 3.
        num_classes: Of all folds.
        layout: 'blocks' for neighbours (PASCAL-5i: fold 0 has 1..5), 'stride' for every fourth (COCO-20i: fold 0 has
            1, 5, 9, ...).

    Raises:
        ConfigError: If there is no such fold or layout.
    """
    if fold not in range(FOLDS) or layout not in ('blocks', 'stride'):
        raise ConfigError(f"fold={fold}, layout='{layout}': write a fold from 0 to 3, and 'blocks' or 'stride'.")
    numbers = range(1, num_classes + 1)
    size = num_classes // FOLDS
    return tuple(numbers[fold::FOLDS] if layout == 'stride' else numbers[fold * size : (fold + 1) * size])


def read_pairs(path: Path, num_classes: int, remedy: str) -> list[Pair]:
    """The pairs of a list in their order.

    Args:
        path: Text file.
        num_classes: The highest number that a class may have.
        remedy: Last part of the messages: how to get the list.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If a line is no pair, or nothing is listed.
    """
    if not path.is_file():
        raise MissingFileError(f'list of episodes {path} does not exist; {remedy}')
    pairs = []
    for place, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        name, _, number = line.strip().rpartition('__')
        if not name or not number.isdecimal() or not 1 <= int(number) <= num_classes:
            raise DataError(
                f'{path}, line {place}: {line.strip()!r} is no picture with the number of a class from 1 to '
                f'{num_classes}, as in 2007_000452__09; {remedy}'
            )
        pairs.append(Pair(name.removesuffix('.jpg'), int(number)))
    if not pairs:
        raise DataError(f'list of episodes {path} is empty; {remedy}')
    return pairs


def draw_episodes(pairs: Sequence[Pair], draw: Draw, count: int, seed: int, numbers: Sequence[int]) -> dict[Pair, int]:
    """How often each pair is asked, in the order of the pairs' first places.

    An episode of HSNet's has support pictures too, which a model that reads words does not look at; so an episode is
    the picture and its class, and a pair that is drawn twice gets the same answer twice.

    Args:
        pairs: As listed.
        draw: 'all': each once. 'cycle': the list from its beginning, again and again, ``count`` episodes (HSNet for
            PASCAL-5i). 'classes': ``count`` times a class at random and one of its pictures at random (HSNet for
            COCO-20i), by numpy's legacy generator, whose numbers never change: with the lists and the order of LSeg's
            release, and seed 0, these are the very episodes of its test.
        count: Number of episodes.
        seed: Of 'classes'.
        numbers: The classes that 'classes' draws from.

    Raises:
        ConfigError: If there is no such way to draw, or fewer than one episode is wanted.
        DataError: If a class is to be drawn that the list lacks.
    """
    if draw not in ('all', 'cycle', 'classes') or count < 1:
        raise ConfigError(
            f"draw='{draw}', episodes={count}: write 'all', 'cycle' or 'classes', and at least 1 episode."
        )
    if draw == 'all':
        return dict.fromkeys(pairs, 1)
    if draw == 'cycle':
        return dict(Counter(pairs[row % len(pairs)] for row in range(count)))
    pairs_of: dict[int, list[Pair]] = defaultdict(list)
    for pair in pairs:
        pairs_of[pair.number].append(pair)
    lacking = [number for number in numbers if number not in pairs_of]
    if lacking:
        raise DataError(f'the list of episodes has no picture of the classes {lacking}; get the whole data set.')
    generator = np.random.RandomState(seed)
    drawn = []
    for _ in range(count):
        own = pairs_of[int(generator.choice(numbers, 1, replace=False)[0])]
        drawn.append(own[int(generator.choice(len(own), 1, replace=False)[0])])
    return dict(Counter(drawn))
