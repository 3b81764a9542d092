"""What is written beside a figure, and the table that a person reads."""

import math
import resource
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size

from vlm_dense.engine.protocol_runs.identity import versions
from vlm_dense.engine.protocol_runs.store import PredictionStore
from vlm_dense.evaluation.protocols import Protocol
from vlm_dense.evaluation.report import plain

RESULT = 'result.json'
MIB = 2**20
DESCRIBED = ('name', 'title', 'split', 'cap', 'source')


def make_result(
    protocol: Protocol,
    figures: Mapping[str, Mapping[str, float]],
    stores: Mapping[str, PredictionStore],
    model: Any = None,
) -> dict[str, Any]:
    """All that is known of a measurement; undefined figures are None.

    Args:
        protocol: What was measured.
        figures: Of every part, in percent; the result's own are their means.
        stores: The predictions of every part.
        model: What predicted, where it did so in this very process group; its memory is then reported too.
    """
    requests = {name: store.request() for name, store in stores.items()}
    first = next(iter(requests.values()))
    pictures = sum(map(len, stores.values()))
    seconds = sum(store.seconds() for store in stores.values())
    result: dict[str, Any] = dict(
        protocol={name: getattr(protocol, name) for name in DESCRIBED},
        figures={name: plain(value) for name, value in _means(figures).items()},
        headline=list(protocol.headline),
        pictures=pictures,
        vocabulary={name: _words(request) for name, request in requests.items()},
        recipe=first['recipe'],
        prompt=first['prompt'],
        config_hash=first['config'],
        test_cfg=first['test_cfg'],
        weights=dict(checkpoint=first['checkpoint'], sha256=first['weights']),
        seconds_per_picture=seconds / pictures if pictures else None,
        versions=first['versions'],
        scored_with=versions(),
    )
    if len(figures) > 1:
        result['parts'] = {part: {name: plain(value) for name, value in of.items()} for part, of in figures.items()}
    if model is not None:
        result.update(processes=get_world_size(), peak_memory_mib=peak_memory_mib())
    return result


def peak_memory_mib() -> dict[str, float]:
    """The most that one process of the group took, of the machine's memory and of its GPU's, in MiB."""
    unit = 1 if sys.platform == 'darwin' else 1024
    own = dict(machine=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB)
    if torch.cuda.is_available():
        own['gpu'] = torch.cuda.max_memory_allocated() / MIB
    everyone = all_gather_object(own)
    return {name: round(max(one[name] for one in everyone), 1) for name in own}


def table(result: Mapping[str, Any]) -> str:
    """The measurement in full and its figures, those of the headline first."""
    protocol, figures = result['protocol'], result['figures']
    names = [*result['headline'], *(name for name in figures if name not in result['headline'])]
    width = max(map(len, names))
    words = [
        f'{name or "words"}: {one["words"]} ({one["hash"][:8]})' for name, one in result['vocabulary'].items() if one
    ]
    lines = [
        '',
        protocol['title'],
        f'pictures: {protocol["split"]} ({result["pictures"]} here)',
        f'counted:  {protocol["cap"]}',
        f'asked:    {", ".join(words[:3]) or "the phrases of every picture"}{", ..." if len(words) > 3 else ""}',
        f'by:       {result["recipe"]}, weights {result["weights"]["sha256"][:8]}',
        *([f'figures are means over {", ".join(result["parts"])}'] if 'parts' in result else []),
        *(f'  {name:{width}}  {_shown(figures.get(name))}' for name in names),
        *(
            f'  {part:{width}}  ' + '  '.join(f'{name} {_shown(of.get(name))}' for name in result['headline'])
            for part, of in result.get('parts', {}).items()
        ),
    ]
    return '\n'.join(lines)


def _words(request: Mapping[str, Any]) -> dict[str, Any] | None:
    if request['words'] is None:
        return None
    return dict(words=len(request['words']['words']), base=len(request['words']['base']), hash=request['vocabulary'])


def _means(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    parts = list(figures.values())
    return {name: float(np.mean([part.get(name, math.nan) for part in parts])) for name in parts[0]}


def _shown(value: float | None) -> str:
    return '   none' if value is None else f'{value:7.2f}'
