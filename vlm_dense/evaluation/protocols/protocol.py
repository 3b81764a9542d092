"""What was measured, and on what: the description that stands beside a figure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vlm_dense.datasets.vocabularies import vocabulary_path

ROOT = '{root}'
Kind = Literal['boxes', 'pixels', 'phrases', 'panoptic']


@dataclass(frozen=True)
class Part:
    """One data set of a protocol.

    Every ``'{root}'`` in a text stands for the folder of all data sets.

    Args:
        words: What `Vocabulary.build` takes; None where every picture brings its own phrases.
        dataset: Config of the data set, without a pipeline.
        metric: Config of the metric.
        name: Tells the parts of a protocol apart; '' where there is only one.
        truth: Steps that load what the metric compares with, where it does not read a file of its own.
    """

    words: Any
    dataset: Mapping[str, Any]
    metric: Mapping[str, Any]
    name: str = ''
    truth: tuple[Mapping[str, Any], ...] = ()

    def below(self, root: str) -> 'Part':
        """The same part with the data in a folder."""
        filled = {key: fill_root(getattr(self, key), root) for key in ('words', 'dataset', 'metric', 'truth')}
        return Part(name=self.name, **filled)


@dataclass(frozen=True)
class Protocol:
    """A way to measure, by name.

    Args:
        name: As on the command line.
        kind: What is compared: boxes (and masks), pixels, boxes of phrases, or panoptic segments.
        title: In full, as a table of results prints it.
        split: The pictures, in words.
        cap: Which predictions count, in words.
        source: Who measures so.
        data: The data set's name in ``tools/data/prepare.py``.
        headline: Figures that are printed first, the one that papers quote at the front.
        parts: The data sets; a figure of several is their mean.
        has_split: Whether the words of the protocol say which of them are base. Otherwise those count as base that
            the recipe calls base.
    """

    name: str
    kind: Kind
    title: str
    split: str
    cap: str
    source: str
    data: str
    headline: tuple[str, ...]
    parts: tuple[Part, ...] = field(repr=False)
    has_split: bool = False


def shipped(name: str, **options: Any) -> dict[str, Any]:
    """Words that ship with the package, as `Vocabulary.build` takes them."""
    return dict(file=vocabulary_path(name), **options)


def fill_root(value: Any, root: str) -> Any:
    """Replace ``'{root}'`` in every text of nested settings; mappings become plain dictionaries."""
    if isinstance(value, str):
        return value.replace(ROOT, root)
    if isinstance(value, Mapping):
        return {key: fill_root(entry, root) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(fill_root(entry, root) for entry in value)
    return value
