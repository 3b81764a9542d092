"""Predictions as plain records, and records as predictions again, to the last bit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_dense.engine.protocol_runs.store import PredictionStore
from vlm_dense.errors import DataError
from vlm_dense.evaluation.detections import encode_mask

LABEL_MAPS = ('pred_sem_seg', 'pred_panoptic_seg')


def record_of(sample: Any, store: PredictionStore) -> dict[str, Any]:
    """What a predicted sample holds, without its pictures; label maps go into files of the store.

    Raises:
        DataError: If it holds no prediction that a protocol can score.
    """
    record: dict[str, Any] = dict(size=list(sample.ori_shape[:2]))
    if 'pred_instances' in sample:
        record['instances'] = _plain_instances(sample.pred_instances)
    for name in LABEL_MAPS:
        if name in sample:
            data = sample.get(name)
            labels = data.data if 'data' in data else data.sem_seg
            record[name] = store.write_map(labels.reshape(labels.shape[-2:]).cpu().numpy())
    if len(record) == 1:
        raise DataError(f'the model predicts nothing for {sample.get("img_path")} that a protocol can score.')
    return record


def sample_of(record: Mapping[str, Any], store: PredictionStore) -> dict[str, Any]:
    """The predictions of a record in the form that metrics read."""
    sample: dict[str, Any] = dict(ori_shape=tuple(record['size']))
    if 'instances' in record:
        sample['pred_instances'] = _instances(record['instances'])
    if 'pred_sem_seg' in record:
        sample['pred_sem_seg'] = dict(data=store.read_map(record['pred_sem_seg'])[None])
    if 'pred_panoptic_seg' in record:
        sem_seg_1HW = torch.from_numpy(store.read_map(record['pred_panoptic_seg']))[None]
        sample['pred_panoptic_seg'] = dict(sem_seg=sem_seg_1HW)
    return sample


def _plain_instances(instances: Any) -> dict[str, Any]:
    plain = dict(
        boxes=_shortest(instances.bboxes),
        scores=_shortest(instances.scores),
        labels=instances.labels.tolist(),
    )
    if instances.get('masks') is not None:
        plain['masks'] = [encode_mask(mask) for mask in instances.masks]
    return plain


def _shortest(values: Tensor) -> list:
    """Nested lists of the shortest numbers that give the same float32."""
    array = values.detach().float().cpu().numpy()
    return np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape).tolist()


def _instances(plain: Mapping[str, Any]) -> dict[str, Any]:
    instances: dict[str, Any] = dict(
        bboxes=torch.tensor(plain['boxes'], dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(plain['scores'], dtype=torch.float32),
        labels=torch.tensor(plain['labels'], dtype=torch.int64),
    )
    if 'masks' in plain:
        instances['masks'] = plain['masks']
    return instances
