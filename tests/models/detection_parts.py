"""A tiny Mask R-CNN with random words and teacher, and generated pictures, for the detection tests."""

import hashlib
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import ImageTower

EMBED_DIM = 16
HEIGHT, WIDTH = 96, 128
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]
BOXES = torch.tensor([[10.0, 10.0, 60.0, 70.0], [50.0, 20.0, 120.0, 90.0]])


class RandomWords:
    """A text bank whose unit vectors depend on the word alone."""

    embed_dim = EMBED_DIM

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        return torch.stack([self.vector(word) for word in vocabulary.words])

    def vector(self, word: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], 'big')
        vector_D = torch.randn(self.embed_dim, generator=torch.Generator().manual_seed(seed))
        return functional.normalize(vector_D, dim=0)


class TinyTower(ImageTower):
    """A tower of one convolution."""

    embed_dim = EMBED_DIM
    mean = (1.0, 2.0, 3.0)
    std = (50.0, 60.0, 70.0)
    input_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, EMBED_DIM, 32)

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        return functional.normalize(self.conv(images_B3HW).flatten(1), dim=1)


def vocabulary(words: str = 'ant bee cat', base: str = 'ant bee') -> Vocabulary:
    return Vocabulary.from_words(words.split(), base=base.split())


def roi_extractor(size: int) -> dict:
    return dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=size, sampling_ratio=0),
        out_channels=16,
        featmap_strides=[4, 8, 16, 32],
    )


def box_head(**changes: Any) -> dict:
    head = dict(
        type='vlm_dense.OVBBoxHead',
        embed_dim=EMBED_DIM,
        in_channels=16,
        trunk=dict(num_convs=1, num_fcs=2, conv_channels=16, fc_channels=32, norm_cfg=dict(type='BN')),
        classifier=dict(type='vlm_dense.EmbeddingClassifier', temperature=0.1),
        distill='separate',
    )
    return {**head, **changes}


def mask_parts() -> dict:
    head = dict(type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=16, class_agnostic=True)
    return dict(mask_roi_extractor=roi_extractor(14), mask_head=dict(head, num_classes=1))


def train_config() -> dict:
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.3)
    sampler = dict(type='RandomSampler', num=32, pos_fraction=0.5)
    return dict(
        rpn=dict(assigner=assigner, sampler=dict(sampler, add_gt_as_proposals=False), allowed_border=-1, pos_weight=-1),
        rpn_proposal=dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(assigner=assigner, sampler=dict(sampler, add_gt_as_proposals=True), mask_size=28, pos_weight=-1),
    )


def model_config(with_mask: bool = True, branches: dict | None = None, **head: Any) -> dict:
    distil = dict(image=dict(type='vlm_dense.DistillRegions', teacher=dict(tower=TinyTower()), max_regions=8))
    anchors = dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32])
    return dict(
        type='vlm_dense.OVTwoStageDetector',
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=MEAN, std=STD, bgr_to_rgb=True, pad_mask=True, pad_size_divisor=32
        ),
        text_bank=RandomWords(),
        branches=distil if branches is None else branches,
        backbone=dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN'), norm_eval=False),
        neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4),
        rpn_head=dict(type='RPNHead', in_channels=16, feat_channels=16, anchor_generator=anchors),
        roi_head=dict(
            type='vlm_dense.OVRoIHead',
            bbox_roi_extractor=roi_extractor(7),
            bbox_head=box_head(**head),
            **(mask_parts() if with_mask else {}),
        ),
        train_cfg=train_config(),
        test_cfg=dict(
            rpn=dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
            rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=30, mask_thr_binary=0.5),
        ),
    )


def build(config: dict) -> nn.Module:
    from mmengine.config import ConfigDict
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(config))


def tiny_detector(**changes: Any) -> nn.Module:
    detector = build(model_config(**changes))
    detector.init_weights()
    return detector


def picture(seed: int = 0) -> Tensor:
    """Two bright rectangles at ``BOXES`` on noise, BGR, 0..255."""
    image_3HW = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)) * 60
    for colour, (x1, y1, x2, y2) in enumerate(BOXES.int().tolist()):
        image_3HW[colour, y1:y2, x1:x2] += 180
    return image_3HW


def sample(words: Vocabulary | None, image: int = 0) -> DetDataSample:
    shape = (HEIGHT, WIDTH)
    found = DetDataSample(metainfo=dict(img_id=image, img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0)))
    if words is not None:
        found.set_metainfo(dict(vocabulary=words))
    masks_GHW = np.zeros((len(BOXES), *shape), np.uint8)
    for mask_HW, (x1, y1, x2, y2) in zip(masks_GHW, BOXES.int().tolist(), strict=True):
        mask_HW[y1:y2, x1:x2] = 1
    found.gt_instances = InstanceData(
        bboxes=BOXES.clone(), labels=torch.tensor([0, 1]), masks=BitmapMasks(masks_GHW, *shape)
    )
    return found


def batch(words: Vocabulary, count: int = 2) -> dict:
    return dict(
        inputs=[picture(image) for image in range(count)],
        data_samples=[sample(words, image) for image in range(count)],
    )


def losses_of(detector: nn.Module, words: Vocabulary) -> dict:
    ready = detector.data_preprocessor(batch(words), True)
    return detector(**ready, mode='loss')


def predictions(detector: nn.Module, words: Vocabulary) -> list[DetDataSample]:
    detector.eval()
    with torch.no_grad():
        return detector.test_step(batch(words))
