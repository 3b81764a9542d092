"""Figures from kept predictions; no model is needed."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dataset import Compose
from mmengine.dist import get_rank, get_world_size

from vlm_dense.engine.protocol_runs.records import sample_of
from vlm_dense.engine.protocol_runs.store import PredictionStore
from vlm_dense.errors import DataError
from vlm_dense.registry import METRICS
from vlm_dense.text.vocabulary import Vocabulary


def identity_of(described: Mapping[str, Any], data_root: str | None) -> str | int:
    """What a picture is called in a store: its id, or where a data set has none, its path below the data set's folder.

    Args:
        described: What the data set says of the picture.
        data_root: The data set's folder.
    """
    if 'img_id' in described:
        return described['img_id']
    path = str(described['img_path'])
    return path.removeprefix(str(data_root or '')).lstrip('/')


def identities(dataset: Any) -> list[str | int]:
    """Of every entry of a data set, in its order.

    Raises:
        DataError: If two entries have the same.
    """
    names = [identity_of(dataset.get_data_info(row), dataset.data_root) for row in range(len(dataset))]
    if len(set(names)) < len(names):
        twice = next(name for row, name in enumerate(names) if name in names[:row])
        raise DataError(f'{dataset.ann_file or dataset.data_root} lists picture {twice!r} twice; remove one.')
    return names


def score(
    part: Mapping[str, Any],
    dataset: Any,
    names: Sequence[str | int],
    store: PredictionStore,
    words: Mapping[str, list] | None,
) -> dict[str, float]:
    """Compare all kept predictions of a data set with the truth; the processes of a group share the pictures.

    Args:
        part: ``metric``, and the steps that load the truth, ``truth``.
        dataset: The data set of the part.
        names: Its `identities`.
        store: Its predictions.
        words: What the labels of the predictions mean; None where every picture brings its own phrases.

    Raises:
        DataError: If pictures have no predictions.
    """
    metric = METRICS.build(dict(part['metric']))
    metric.dataset_meta = dataset.metainfo
    truth = Compose([dict(step) for step in part.get('truth', ())])
    vocabulary = None if words is None else Vocabulary.build(dict(words))
    row_of = {name: row for row, name in enumerate(names)}
    _check_complete(store, names)
    for position, (identity, record) in enumerate(store.read()):
        if position % get_world_size() != get_rank() or identity not in row_of:
            continue
        sample = _sample(dataset.get_data_info(row_of[identity]), truth)
        if vocabulary is not None:
            sample['vocabulary'] = vocabulary
        metric.process({}, [{**sample, **sample_of(record, store)}])
    return metric.evaluate(len(dataset))


def _sample(described: dict, truth: Compose) -> dict[str, Any]:
    sample = truth(described)
    if 'gt_seg_map' in sample:
        sample['gt_sem_seg'] = dict(data=sample.pop('gt_seg_map')[None])
    return sample


def _check_complete(store: PredictionStore, wanted: Sequence[str | int]) -> None:
    finished = store.finished()
    missing = [name for name in wanted if name not in finished]
    if missing:
        raise DataError(
            f'{store.folder} has no predictions for {len(missing)} of {len(wanted)} pictures (first: {missing[0]!r}); '
            'run tools/test.py with the same --out again, which goes on where it stopped, and score by a protocol over '
            'the same pictures.'
        )
