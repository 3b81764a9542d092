"""The 13 and the 35 data sets of ODinW, object detection in the wild."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from vlm_dense.errors import ConfigError

FILE = Path(__file__).with_suffix('.json')


@dataclass(frozen=True)
class OdinwSet:
    """One data set of ODinW (ELEVATER, arXiv 2204.08790), where and as mmdet reads it.

    Args:
        name: Its name in mmdet's configs.
        annotations: COCO annotations, below the root of all data sets.
        pictures: Folder of the pictures, below the root.
        classes: The categories as the annotations spell them.
        category_words: The word of categories whose names are no words, for `VocabularyCocoDataset` and
            `BaseNovelBoxMetric`.
    """

    name: str
    annotations: str
    pictures: str
    classes: tuple[str, ...]
    category_words: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """What a detector is asked for, one word per category."""
        return tuple(self.category_words.get(name, name) for name in self.classes)


def odinw_sets(suite: str) -> tuple[OdinwSet, ...]:
    """The data sets of a suite, in mmdet's order.

    Args:
        suite: 'odinw13' or 'odinw35'. Two data sets have other annotation files and words in one than in the other.

    Raises:
        ConfigError: If there is no such suite.
    """
    content = json.loads(FILE.read_text(encoding='utf-8'))
    if suite not in ('odinw13', 'odinw35'):
        raise ConfigError(f"no suite '{suite}' of ODinW; choose 'odinw13' or 'odinw35'.")
    return tuple(OdinwSet(**{**row, 'classes': tuple(row['classes'])}) for row in content[suite])
