"""Predictions as one JSON list that names things with the caller's words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.evaluation.average_precision import load_ground_truth
from vlm_dense.evaluation.detections import encode_mask, image_detections
from vlm_dense.evaluation.per_image import PerImageMetric
from vlm_dense.evaluation.report import write_json
from vlm_dense.evaluation.words import request_vocabulary
from vlm_dense.registry import METRICS


@METRICS.register_module()
class WritePredictions(PerImageMetric):
    """Writes boxes and masks, or the regions of a label map, in COCO's result format.

    Each entry has ``image_id``, ``file_name`` and ``word``; boxes add ``bbox`` (xywh, pixels) and ``score``, masks
    and label maps add ``segmentation`` (RLE). With ``ann_file``, entries whose word is a category of that file also
    carry its ``category_id``, as evaluation servers want it.

    Args:
        out_file: The JSON file to write.
        ann_file: COCO annotations that give the category ids.
        collect_device, prefix, collect_dir: As in `PerImageMetric`.
    """

    def __init__(
        self,
        out_file: str,
        ann_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.out_file = out_file
        self._category_ids = _category_ids(ann_file)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch.

        Raises:
            ConfigError: If a picture carries no vocabulary.
            DataError: If a picture carries no predictions.
        """
        for sample in data_samples:
            words = request_vocabulary(sample).words
            if 'pred_instances' in sample:
                found = _instances(sample, words)
            elif 'pred_sem_seg' in sample:
                found = _regions(sample, words)
            else:
                raise DataError(f'picture {sample.get("img_path")} has no predictions to write; drop --out.')
            self.results.append(dict(image=_identity(sample), found=[self._named(sample, one) for one in found]))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write the file; there is no figure.

        Raises:
            StorageError: If the file cannot be written.
        """
        write_json(self.out_file, [one for result in self.distinct(results) for one in result['found']])
        return {}

    def _named(self, sample: dict, found: dict) -> dict:
        name = Path(sample['img_path']).name if sample.get('img_path') else None
        entry = dict(image_id=sample.get('img_id', name), file_name=name, **found)
        if found['word'] in self._category_ids:
            entry['category_id'] = self._category_ids[found['word']]
        return entry


def _category_ids(ann_file: str | None) -> dict[str, int]:
    if ann_file is None:
        return {}
    if not Path(ann_file).is_file():
        raise MissingFileError(f'WritePredictions: annotations {ann_file} do not exist; correct ann_file.')
    return {category['name']: category['id'] for category in load_ground_truth(ann_file).dataset['categories']}


def _identity(sample: dict) -> Any:
    return sample['img_id'] if 'img_id' in sample else sample['img_path']


def _instances(sample: dict, words: Sequence[str]) -> list[dict]:
    detections = image_detections(sample, with_masks=sample['pred_instances'].get('masks') is not None)
    found = []
    columns = (detections[name].tolist() for name in ('labels', 'bbox', 'scores'))
    for row, (label, box, score) in enumerate(zip(*columns, strict=True)):
        entry = dict(word=words[label], bbox=box, score=score)
        if 'segm' in detections:
            entry['segmentation'] = detections['segm'][row]
        found.append(entry)
    return found


def _regions(sample: dict, words: Sequence[str]) -> list[dict]:
    labels = torch.as_tensor(sample['pred_sem_seg']['data']).cpu().numpy()
    labels_HW = labels.reshape(labels.shape[-2:])
    present = [int(label) for label in np.unique(labels_HW) if label < len(words)]
    return [dict(word=words[label], segmentation=encode_mask(labels_HW == label)) for label in present]
