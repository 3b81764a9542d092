"""Finding steps in the pipelines of a config."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlm_dense.errors import ConfigError

# Steps that bring the truth into a pipeline, and the one that brings the words.
OF_A_DATA_SET = ('LoadAnnotations', 'LoadLabelMap', 'LoadPanopticAnnotations', 'LoadPhraseMask', 'AttachVocabulary')


def last_name(settings: Mapping[str, Any]) -> str:
    """The type of a step, metric or hook without its scope."""
    return str(settings.get('type')).split('.')[-1]


def attaching_steps(dataset: Any) -> Iterator[dict]:
    """Every AttachVocabulary in the pipelines of a data set and of those that it wraps."""
    if isinstance(dataset, list | tuple):
        for one in dataset:
            yield from attaching_steps(one)
    elif isinstance(dataset, dict):
        yield from (step for step in dataset.get('pipeline') or [] if last_name(step) == 'AttachVocabulary')
        for name in ('dataset', 'datasets'):
            yield from attaching_steps(dataset.get(name))


def picture_steps(pipeline: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of the steps that a picture needs without a data set of its own: no truth, no fixed words."""
    return [copy.deepcopy(dict(step)) for step in pipeline if last_name(step) not in OF_A_DATA_SET]


def kind_of(pipeline: Sequence[Mapping[str, Any]]) -> str:
    """What a recipe finds, by how its pipeline packs samples: 'boxes' or 'pixels'.

    Raises:
        ConfigError: If nothing is packed.
    """
    kinds = {'PackDetInputs': 'boxes', 'PackSegInputs': 'pixels'}
    for step in pipeline:
        if last_name(step) in kinds:
            return kinds[last_name(step)]
    raise ConfigError('the test pipeline packs nothing; end it with PackDetInputs or PackSegInputs.')
