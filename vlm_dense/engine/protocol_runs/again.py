"""Figures anew from kept predictions, by the same protocol or by another one over the same pictures."""

from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope

from vlm_dense.engine.protocol_runs.loop import PREDICTIONS
from vlm_dense.engine.protocol_runs.result import RESULT, make_result
from vlm_dense.engine.protocol_runs.scoring import identities, score
from vlm_dense.engine.protocol_runs.store import PredictionStore
from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.evaluation.protocols import Part, find_protocol
from vlm_dense.evaluation.report import write_json
from vlm_dense.registry import DATASETS
from vlm_dense.text.vocabulary import Vocabulary, normalise_word


def score_again(out: str, root: str = 'data', name: str | None = None) -> dict[str, Any]:
    """Score the predictions of a folder and write the result into it.

    Args:
        out: The ``--out`` folder of a test by protocol.
        root: Folder of all data sets.
        name: Another protocol; its result goes to ``<name>.json``. By default that of the predictions, whose result
            goes to ``result.json``.

    Returns:
        The result, see `make_result`.

    Raises:
        MissingFileError: If the folder holds no predictions.
        ConfigError: If the protocol has other parts than the predictions, or other base words than were asked with.
        DataError: If pictures have no predictions, or contradict the annotations.
    """
    folder = Path(out, PREDICTIONS)
    begun = sorted(path.parent for path in folder.glob('**/request.json'))
    if not begun:
        raise MissingFileError(f'{folder} holds no predictions; name the --out folder of a test by protocol.')
    own = PredictionStore(begun[0]).request()['protocol']
    protocol = find_protocol(name or own)
    stores = {part.name: PredictionStore(folder / part.name) for part in protocol.parts}
    if {store.folder for store in stores.values()} != set(begun):
        raise ConfigError(
            f'{folder} was made by {own}, whose data sets are not those of {protocol.name}; choose another.'
        )
    parts = [part.below(str(Path(root))) for part in protocol.parts]
    if protocol.has_split:
        for part in parts:
            _check_split(protocol.name, part, stores[part.name])
    with DefaultScope.overwrite_default_scope('mmengine'):
        figures = {part.name: _figures(part, stores[part.name]) for part in parts}
    result = make_result(protocol, figures, stores)
    write_json(str(Path(out, RESULT if protocol.name == own else f'{protocol.name}.json')), result)
    return result


def _figures(part: Part, store: PredictionStore) -> dict[str, float]:
    dataset = DATASETS.build(dict(part.dataset, pipeline=[]))
    settings = dict(metric=part.metric, truth=part.truth)
    return score(settings, dataset, identities(dataset), store, store.request()['words'])


def _check_split(name: str, part: Part, store: PredictionStore) -> None:
    """Methods weigh base words apart, so predictions asked with other ones are not those of the protocol."""
    own = Vocabulary.build(part.words)
    asked = Vocabulary.build(store.request()['words'])
    known = {normalise_word(word) for word in own.words}
    if asked.base_keys & known != own.base_keys:
        raise ConfigError(
            f'{store.folder} was asked with {sum(asked.is_base)} base words, but {name} has its own '
            f'{sum(own.is_base)}; predict with tools/test.py --protocol {name} and another --out.'
        )
