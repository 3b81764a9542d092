"""What ``--protocol`` changes in a config."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from vlm_dense.engine.pipelines import attaching_steps, kind_of, last_name
from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.evaluation.protocols import PROTOCOLS, Part, Protocol
from vlm_dense.text.vocabulary import Vocabulary, normalise_word

# Steps that bring the truth into the pipeline; a protocol's metric loads its own.
TRUTH_STEPS = ('LoadAnnotations', 'LoadLabelMap', 'LoadPanopticAnnotations', 'LoadPhraseMask')
# A detector of boxes also finds phrases.
KINDS = {'boxes': ('boxes', 'phrases', 'panoptic'), 'pixels': ('pixels',)}


def set_protocol(
    cfg: Config, protocol: Protocol, out: str, root: str = 'data', words: str | None = None, weights: str | None = None
) -> None:
    """Test by a protocol: its data sets, words and metrics, with the recipe's model and its treatment of pictures.

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
    kind = kind_of(pipeline)
    if protocol.kind not in KINDS[kind]:
        fitting = ', '.join(name for name, other in PROTOCOLS.items() if other.kind in KINDS[kind])
        raise ConfigError(
            f'--protocol {protocol.name} measures {protocol.kind}, but {cfg.filename} finds {kind}; choose one of '
            f'{fitting}.'
        )
    parts = [_settings_of_part(cfg, protocol, part.below(str(Path(root))), pipeline, words) for part in protocol.parts]
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


def _pipeline_of(cfg: Config) -> list[Mapping]:
    pipeline = cfg.test_dataloader.dataset.get('pipeline')
    if pipeline is None:
        raise ConfigError(
            f'--protocol: test_dataloader.dataset of {cfg.filename} has no pipeline of its own; use a recipe that '
            'tests one data set, without a wrapper around it.'
        )
    return pipeline


def _settings_of_part(
    cfg: Config, protocol: Protocol, part: Part, pipeline: list[Mapping], words: str | None
) -> dict[str, Any]:
    asked = None
    if part.words is not None:
        asked = _asked(cfg, protocol, part, words)
    elif words is not None:
        raise ConfigError(f'--vocabulary: every picture of {protocol.name} brings its own phrases; drop --vocabulary.')
    steps = [
        copy.deepcopy(dict(step)) for step in pipeline if last_name(step) not in (*TRUTH_STEPS, 'AttachVocabulary')
    ]
    attach = dict(type='vlm_dense.AttachVocabulary', **({} if asked is None else dict(vocabulary=asked)))
    dataset = dict(part.dataset, pipeline=[*steps, attach])
    return dict(name=part.name, dataset=dataset, metric=dict(part.metric), truth=list(part.truth), words=asked)


def _asked(cfg: Config, protocol: Protocol, part: Part, words: str | None) -> dict[str, list]:
    """The words to ask with, spelled out, and which of them are base."""
    own = _build(part.words, f'protocol {protocol.name}')
    asked = own if words is None else Vocabulary.build(words)
    if protocol.has_split:
        base = base_names(own)
    else:
        base = set()
        for step in attaching_steps(cfg.test_dataloader.dataset):
            if step.get('vocabulary') is None:
                continue
            base |= base_names(_build(step['vocabulary'], f'{cfg.filename}, whose base words stay base,'))
    return {**asked.as_spec(), 'base': [word for word in asked.words if normalise_word(word) in base]}


def _build(spec: Any, owner: str) -> Vocabulary:
    try:
        return Vocabulary.build(spec)
    except MissingFileError as error:
        raise MissingFileError(
            f'{owner} needs words that are not there: {error} See docs/datasets.md for the layout.'
        ) from error


def base_names(vocabulary: Vocabulary) -> set[str]:
    """The base words as words are compared."""
    flagged = zip(vocabulary.words, vocabulary.is_base, strict=True)
    return {normalise_word(word) for word, is_base in flagged if is_base}
