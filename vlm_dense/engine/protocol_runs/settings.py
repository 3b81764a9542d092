"""What ``--protocol`` changes in a config."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from vlm_dense.engine.pipelines import attaching_steps, kind_of, last_name, picture_steps
from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.evaluation.protocols import PROTOCOLS, Part, Protocol
from vlm_dense.text.vocabulary import Vocabulary, normalise_word

# A detector of boxes also finds phrases, and masks answer everything.
KINDS = {
    'boxes': ('boxes', 'phrases', 'panoptic'),
    'pixels': ('pixels',),
    'masks': ('boxes', 'phrases', 'panoptic', 'pixels'),
}
FINDS_MASKS = 'OVMaskDetector'
TASKS = {'boxes': 'instance', 'phrases': 'instance', 'panoptic': 'panoptic', 'pixels': 'semantic'}


class SeenWords(NamedTuple):
    """What a recipe calls base.

    Args:
        names: Words, as words are compared; or all names of the words, letter by letter.
        by_name: Whether one name in common is enough, see `Vocabulary.seen_in`.
    """

    names: frozenset[str]
    by_name: bool = False

    def of(self, asked: Vocabulary) -> list[str]:
        """The words among those asked that are base."""
        if self.by_name:
            return [word for row, word in enumerate(asked.words) if not self.names.isdisjoint(asked.names(row))]
        return [word for word in asked.words if normalise_word(word) in self.names]


def set_protocol(
    cfg: Config, protocol: Protocol, out: str, root: str = 'data', words: str | None = None, weights: str | None = None
) -> None:
    """Test by a protocol: its data sets, words and metrics, with the recipe's model and its treatment of pictures.

    A model that makes instances, panoptic maps and labels of pixels from the same masks makes what is measured.

    Args:
        cfg: The config, changed in place.
        protocol: What is measured.
        out: Folder for the predictions and ``result.json``.
        root: Folder of all data sets.
        words: File or data set to ask with, in place of the protocol's words.
        weights: The checkpoint, which the result names by its hash.

    Raises:
        ConfigError: If the recipe finds another kind of thing than the protocol measures, or its test data are wrapped.
        MissingFileError: If words are not there.
    """
    pipeline = _pipeline_of(cfg)
    finds_masks = last_name(cfg.get('model') or {}) == FINDS_MASKS
    _check_kind(cfg, protocol, 'masks' if finds_masks else kind_of(pipeline))
    if finds_masks:
        cfg.model.test_cfg.update({f'{task}_on': task == TASKS[protocol.kind] for task in TASKS.values()})
    # Once for all parts: a recipe's words can stand in a large annotation file.
    own_words = all(part.words is None for part in protocol.parts)
    recipe_base = None if protocol.has_split or own_words else _base_of(cfg)
    parts = [
        _settings_of_part(protocol, part.below(str(Path(root))), pipeline, recipe_base, words)
        for part in protocol.parts
    ]
    cfg.test_cfg = dict(
        type='vlm_dense.ProtocolLoop',
        protocol=protocol.name,
        parts=parts,
        out=out,
        recipe=cfg.filename,
        weights=weights,
    )
    # The loop takes these from the parts; a Runner insists on having them.
    cfg.test_dataloader.dataset = copy.deepcopy(parts[0]['dataset'])
    cfg.test_evaluator = parts[0]['metric']


def _check_kind(cfg: Config, protocol: Protocol, kind: str) -> None:
    if protocol.kind not in KINDS[kind]:
        fitting = ', '.join(name for name, other in PROTOCOLS.items() if other.kind in KINDS[kind])
        raise ConfigError(
            f'--protocol {protocol.name} measures {protocol.kind}, but {cfg.filename} finds {kind}; choose one of '
            f'{fitting}.'
        )


def _pipeline_of(cfg: Config) -> list[Mapping]:
    pipeline = cfg.test_dataloader.dataset.get('pipeline')
    if pipeline is None:
        raise ConfigError(
            f'--protocol: test_dataloader.dataset of {cfg.filename} has no pipeline of its own; use a recipe that '
            'tests one data set, without a wrapper around it.'
        )
    return pipeline


def _settings_of_part(
    protocol: Protocol,
    part: Part,
    pipeline: list[Mapping],
    recipe_base: SeenWords | None,
    words: str | None,
) -> dict[str, Any]:
    asked = None
    if part.words is not None:
        asked = _asked(protocol, part, recipe_base, words)
    elif words is not None:
        raise ConfigError(f'--vocabulary: every picture of {protocol.name} brings its own phrases; drop --vocabulary.')
    attach = dict(type='vlm_dense.AttachVocabulary', **({} if asked is None else dict(vocabulary=asked)))
    dataset = dict(part.dataset, pipeline=[*picture_steps(pipeline), attach])
    return dict(name=part.name, dataset=dataset, metric=dict(part.metric), truth=list(part.truth), words=asked)


def _asked(protocol: Protocol, part: Part, recipe_base: SeenWords | None, words: str | None) -> dict[str, list]:
    """The words to ask with, spelled out, and which of them are base: the recipe's where the protocol has no split."""
    own = _build(part.words, f'protocol {protocol.name}')
    asked = own if words is None else Vocabulary.build(words)
    base = SeenWords(own.base_keys) if recipe_base is None else recipe_base
    return {**asked.as_spec(), 'base': base.of(asked)}


def _base_of(cfg: Config) -> SeenWords:
    """What the recipe's own test calls base: names where its model compares names."""
    specs = [step.get('vocabulary') for step in attaching_steps(cfg.test_dataloader.dataset)]
    owner = f'{cfg.filename}, whose base words stay base,'
    own = [_build(spec, owner) for spec in specs if spec is not None]
    by_name = (cfg.get('model') or {}).get('synonyms') == 'max'
    parts = [_base_names(one) if by_name else one.base_keys for one in own]
    return SeenWords(frozenset().union(*parts), by_name)


def _base_names(vocabulary: Vocabulary) -> frozenset[str]:
    flagged = enumerate(vocabulary.is_base)
    return frozenset(name for row, is_base in flagged if is_base for name in vocabulary.names(row))


def _build(spec: Any, owner: str) -> Vocabulary:
    try:
        return Vocabulary.build(spec)
    except MissingFileError as error:
        raise MissingFileError(
            f'{owner} needs words that are not there: {error} See docs/datasets.md for the layout.'
        ) from error
