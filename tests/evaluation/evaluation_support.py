"""Generated ground truth and predictions, and a gloo pair of processes."""

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import distributed
from torch.multiprocessing.spawn import start_processes


def coco_scene(seed: int, num_images: int = 12, num_words: int = 6, longest: int = 50) -> tuple[dict, list[dict]]:
    """COCO annotations with crowds, empty pictures and absent categories, and detections with ties.

    Sides of boxes are shorter than ``longest`` pixels; 50 gives no object that COCO calls large.
    """
    rng = np.random.default_rng(seed)
    size = 2 * longest + 20
    annotations: list[dict] = []
    for image in range(num_images):
        for _ in range(0 if image % 4 == 3 else int(rng.integers(1, 7))):
            x, y, w, h = (float(v) for v in rng.integers(2, longest, size=4))
            corners = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=int(rng.integers(num_words - 1)) * 3 + 2,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                    segmentation=[corners],
                )
            )
    for annotation in annotations[::5]:
        rle = coco_mask.frPyObjects(annotation['segmentation'], size, size)[0]
        annotation.update(iscrowd=1, segmentation=dict(size=[size, size], counts=rle['counts'].decode()))
    categories = [dict(id=row * 3 + 2, name=f'thing {row}') for row in range(num_words)]
    images = [dict(id=image, width=size, height=size, file_name=f'{image}.jpg') for image in range(num_images)]
    truth = dict(images=images, annotations=annotations, categories=categories)
    return truth, _detections(rng, truth, num_words, longest)


def _detections(rng: np.random.Generator, truth: dict, num_words: int, longest: int) -> list[dict]:
    found = []
    for image in truth['images']:
        near = [a for a in truth['annotations'] if a['image_id'] == image['id']]
        count = 0 if image['id'] == 0 else 160 if image['id'] == 1 else int(rng.integers(0, 12))
        boxes, labels = [], []
        for _ in range(count):
            box = rng.integers(2, longest, size=4).astype(float)
            label = int(rng.integers(num_words))
            if near and rng.random() < 0.7:
                chosen = near[int(rng.integers(len(near)))]
                box = np.array(chosen['bbox']) + rng.integers(-3, 4, size=4)
                label = (chosen['category_id'] - 2) // 3
            if image['id'] == 1:
                label = 0
            boxes.append([box[0], box[1], box[0] + max(box[2], 1), box[1] + max(box[3], 1)])
            labels.append(label)
        # One decimal only: many scores are equal.
        scores = np.round(rng.random(count), 1)
        found.append(
            dict(
                img_id=image['id'],
                img_path=f'/pictures/{image["file_name"]}',
                pred_instances=dict(
                    bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                    scores=torch.tensor(scores, dtype=torch.float32),
                    labels=torch.tensor(labels, dtype=torch.int64),
                ),
            )
        )
    return found


def add_masks(truth: dict, samples: list[dict]) -> None:
    """Give every detection its box as mask, an RLE."""
    size = truth['images'][0]['height']
    for sample in samples:
        masks = []
        for x1, y1, x2, y2 in sample['pred_instances']['bboxes'].long().tolist():
            mask = np.zeros((size, size), dtype=np.uint8, order='F')
            mask[max(y1, 0) : y2, max(x1, 0) : x2] = 1
            masks.append(coco_mask.encode(mask))
        sample['pred_instances']['masks'] = masks


def federated_scene(seed: int, **kwargs: Any) -> tuple[dict, list[dict]]:
    """A `coco_scene` where annotators confirmed the absence of some categories, or did not box all of one."""
    truth, samples = coco_scene(seed, **kwargs)
    rng = np.random.default_rng(seed)
    for image in truth['images']:
        present = {a['category_id'] for a in truth['annotations'] if a['image_id'] == image['id']}
        absent = [c['id'] for c in truth['categories'] if c['id'] not in present]
        image['neg_category_ids'] = [c for c in absent if rng.random() < 0.4]
        image['not_exhaustive_category_ids'] = [c for c in present if rng.random() < 0.3]
    for row, category in enumerate(truth['categories']):
        category['frequency'] = 'frc'[row % 3]
    return truth, samples


def coco_records(samples: list[dict], iou_type: str) -> list[dict]:
    """The detections of a scene in COCO's result format, in float64 as the metric computes."""
    records = []
    for sample in samples:
        found = sample['pred_instances']
        for row in range(len(found['scores'])):
            x1, y1, x2, y2 = found['bboxes'][row].double().tolist()
            box = dict(bbox=[x1, y1, x2 - x1, y2 - y1])
            shape = box if iou_type == 'bbox' else dict(segmentation=found['masks'][row])
            records.append(
                dict(
                    image_id=sample['img_id'],
                    category_id=int(found['labels'][row]) * 3 + 2,
                    score=float(found['scores'][row]),
                    **shape,
                )
            )
    return records


def run_processes(function: Callable[..., Any], *args: Any, world_size: int = 2) -> Any:
    """What ``function(rank, world_size, *args)`` returns on rank 0 of a gloo group."""
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_one_process, (world_size, folder, function, args), world_size, start_method='fork')
        return torch.load(f'{folder}/result.pt', weights_only=True)


def _one_process(rank: int, world_size: int, folder: str, function: Callable[..., Any], args: tuple) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/group', rank=rank, world_size=world_size)
    result = function(rank, world_size, *args)
    if rank == 0:
        torch.save(result, f'{folder}/result.pt')
    distributed.barrier()
    distributed.destroy_process_group()
