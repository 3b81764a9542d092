"""Which words the ImageNet image teacher was trained on."""

from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=1)
def imagenet_names() -> frozenset[str]:
    """Every name and alias of the 1000 ImageNet-1k classes, normalised.

    Source: the WordNet lemmas that timm ships, and the hand-cleaned names that open_clip ships (OpenAI's CLIP notebook,
    arXiv:2103.00020).
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    lemmas = (name for entry in ImageNetInfo('imagenet-1k').label_descriptions() for name in entry.split(','))
    return frozenset(map(normalise, (*lemmas, *IMAGENET_CLASSNAMES)))


def known_words(words: Iterable[str]) -> list[str]:
    """The words that equal a name or an alias of an ImageNet-1k class, in their order."""
    names = imagenet_names()
    return [word for word in words if normalise(word) in names]


def normalise(name: str) -> str:
    """Lower case, with spaces for hyphens and underscores and no space doubled."""
    return ' '.join(name.lower().replace('-', ' ').replace('_', ' ').split())
