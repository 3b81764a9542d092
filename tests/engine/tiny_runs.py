"""Tiny data, configs and types for runs that are repeated, killed and shared between processes."""

import hashlib
import itertools
import json
import os
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import TASK_UTILS
from mmengine.config import Config
from torch import Tensor
from torch.multiprocessing.spawn import start_processes
from torch.nn import functional

from vlm_dense.engine import build_runner, read_config
from vlm_dense.engine.processes import leave_processes
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

SIZE = 64
WORDS = ('red box', 'green box', 'blue box')
BASE = ('red box', 'green box')
NUM_PICTURES = 9
_RUNS = itertools.count()


@MODELS.register_module()
class WordHashBank:
    """A text bank without an encoder: unit vectors that depend on the word alone."""

    def __init__(self, embed_dim: int) -> None:
        self.embed_dim = embed_dim

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        rows = []
        for word in vocabulary.words:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], 'big')
            rows.append(torch.randn(self.embed_dim, generator=torch.Generator().manual_seed(seed)))
        return functional.normalize(torch.stack(rows), dim=1)


@TASK_UTILS.register_module()
class EvenSampler(RandomSampler):
    """Evenly spaced instead of random choices: the same for one process as for several."""

    def random_choice(self, gallery: Any, num: int) -> Any:
        return gallery[torch.linspace(0, len(gallery) - 1, num).round().long()]


def write_pictures(folder: Path) -> None:
    """Coloured boxes on noise; box annotations and label maps (background is 3)."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for name in ('images', 'labels'):
        (folder / name).mkdir(parents=True)
    for image in range(NUM_PICTURES):
        picture_HW3 = rng.integers(0, 90, size=(SIZE, SIZE, 3), dtype=np.uint8)
        labels_HW = np.full((SIZE, SIZE), len(WORDS), dtype=np.uint8)
        for colour in (image % 3, (image + 1) % 3):
            x, y, w, h = (int(v) for v in (*rng.integers(0, 28, 2), *rng.integers(18, 34, 2)))
            picture_HW3[y : y + h, x : x + w, 2 - colour] += 150
            labels_HW[y : y + h, x : x + w] = colour
            box = dict(image_id=image, category_id=colour + 1, bbox=[x, y, w, h], area=w * h, iscrowd=0)
            annotations.append(dict(box, id=len(annotations) + 1))
        cv2.imwrite(str(folder / f'images/{image}.png'), picture_HW3)
        cv2.imwrite(str(folder / f'labels/{image}.png'), labels_HW)
        images.append(dict(id=image, file_name=f'{image}.png', width=SIZE, height=SIZE))
    categories = [dict(id=row + 1, name=word) for row, word in enumerate(WORDS)]
    truth = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'boxes.json').write_text(json.dumps(truth))


def write_config(folder: Path, name: str, text: str) -> Path:
    path = folder / f'{name}.py'
    path.write_text(RUNTIME.replace('DATA', str(folder)) + text.replace('DATA', str(folder)))
    return path


RUNTIME = f"""
data_root = 'DATA/'
words = dict(words={list(WORDS)}, base={list(BASE)})
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl'))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)
)
log_processor = dict(by_epoch=False, window_size=1)
log_level = 'WARNING'
randomness = dict(seed=1)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=100, val_begin=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9), clip_grad=dict(max_norm=1.0)
)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4)]
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
infinite = dict(type='InfiniteSampler', shuffle=True)
in_order = dict(type='DefaultSampler', shuffle=False)
"""

DETECTOR = """
default_scope = 'mmdet'
dataset = dict(
    type='vlm_dense.VocabularyCocoDataset', data_root=data_root, ann_file='boxes.json', vocabulary=words,
    data_prefix=dict(img='images/'),
)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(64, 64)),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=words),
]
train_dataloader = dict(batch_size=4, num_workers=0, sampler=infinite, dataset=dict(dataset, pipeline=pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=in_order, dataset=dict(dataset, pipeline=pipeline, test_mode=True)
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.BaseNovelBoxMetric', ann_file=data_root + 'boxes.json')
test_evaluator = val_evaluator
assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.3)
sampler = dict(type='EvenSampler', num=16, pos_fraction=0.5, add_gt_as_proposals=False)
nms = dict(type='nms', iou_threshold=0.9)
model = dict(
    type='vlm_dense.OVTwoStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[60.0] * 3, std=[60.0] * 3, pad_size_divisor=32),
    text_bank=dict(type='vlm_dense.WordHashBank', embed_dim=16),
    backbone=dict(
        type='ResNet', depth=18, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), base_channels=8,
        out_indices=(1, 2), norm_cfg=dict(type='SyncBN'), norm_eval=False,
    ),
    neck=dict(type='FPN', in_channels=[16, 32], out_channels=16, num_outs=2),
    rpn_head=dict(
        type='RPNHead', in_channels=16, feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', scales=[2], ratios=[0.5, 1.0, 2.0], strides=[8, 16]),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.1),
    ),
    roi_head=dict(
        type='vlm_dense.OVRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=16, featmap_strides=[8, 16],
        ),
        bbox_head=dict(
            type='vlm_dense.OVBBoxHead', embed_dim=16, in_channels=16,
            trunk=dict(num_convs=1, num_fcs=1, conv_channels=16, fc_channels=32, norm_cfg=dict(type='SyncBN')),
            classifier=dict(type='vlm_dense.EmbeddingClassifier', temperature=0.1),
        ),
    ),
    train_cfg=dict(
        rpn=dict(assigner=assigner, sampler=sampler, allowed_border=-1, pos_weight=-1),
        rpn_proposal=dict(nms_pre=100, max_per_img=40, nms=nms, min_bbox_size=0),
        rcnn=dict(assigner=assigner, sampler=dict(sampler, add_gt_as_proposals=True), pos_weight=-1),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=50, max_per_img=20, nms=nms, min_bbox_size=0),
        rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=30),
    ),
)
"""

SEGMENTOR = """
default_scope = 'mmseg'
dataset = dict(
    type='vlm_dense.VocabularySegDataset', data_root=data_root, vocabulary=words, img_suffix='.png',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary', vocabulary=words),
]
train_dataloader = dict(batch_size=4, num_workers=0, sampler=infinite, dataset=dict(dataset, pipeline=pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=in_order, dataset=dict(dataset, pipeline=pipeline, test_mode=True)
)
test_dataloader = val_dataloader
val_evaluator = dict(type='vlm_dense.SeenUnseenIoUMetric')
test_evaluator = val_evaluator
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[60.0] * 3, std=[60.0] * 3, size=(64, 64)),
    backbone=dict(
        type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=norm, norm_eval=False,
        out_indices=(0, 1, 2, 3), strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4),
    ),
    decode_head=dict(
        type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, dropout_ratio=0.0, num_classes=4,
        norm_cfg=norm, align_corners=False, loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
"""


def config(path: Path, work_dir: Path, **options: Any) -> Config:
    cfg = read_config(str(path), {key.replace('__', '.'): value for key, value in options.items()})
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = unique_name()
    return cfg


def unique_name() -> str:
    """mmengine's runs of one name in one process and one second would share their logs."""
    return f'run_{next(_RUNS)}'


def train(cfg: Config) -> dict[str, Tensor]:
    """Train in this process; the final weights."""
    runner = build_runner(cfg)
    runner.train()
    model = getattr(runner.model, 'module', runner.model)
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def evaluate(cfg: Config) -> dict[str, float]:
    """Evaluate in this process."""
    return build_runner(cfg).test()


def logged(work_dir: Path, ending: str = 'loss') -> list[dict[str, float]]:
    """The losses of every step, from the log of the newest run in a folder."""
    newest = max(work_dir.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in newest.read_text().splitlines()]
    return [{name: value for name, value in row.items() if ending in name} for row in rows if ending in row]


def in_processes(function: Callable[..., Any], *args: Any, world_size: int = 1) -> Any:
    """What a function returns on the first of several new processes; with one, that process has no group."""
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_process, (world_size, folder, function, args), world_size, start_method='fork')
        return torch.load(f'{folder}/result.pt', weights_only=True)


def _process(rank: int, world_size: int, folder: str, function: Callable[..., Any], args: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    if world_size > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=os.environ['TEST_PORT'])
    try:
        result = function(*args)
    except BaseException:
        traceback.print_exc()
        raise
    if rank == 0:
        torch.save(result, f'{folder}/result.pt')
    leave_processes()
