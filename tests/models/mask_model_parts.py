"""Small models that find masks and name them, and pictures with truths for them."""

from typing import Any

import torch
from mask_head_parts import D, classifier, mask2former_parts, mask_former_parts
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from segmentation_parts import HashBank
from torch import Tensor, nn

from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import ImageTower

CHANNELS = [8, 16, 32, 64]
WORDS = ('ant', 'bee', 'sky', 'sea')
NORMALISED = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0], bgr_to_rgb=True)


@MODELS.register_module()
class HashNames(HashBank):
    """Knows the names of words too."""

    def rows_of_names(self, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        names = [(name, row) for row in range(len(vocabulary)) for name in vocabulary.names(row)]
        return torch.stack([self.vector(name) for name, _ in names]), torch.tensor([row for _, row in names])


@MODELS.register_module()
class ColourTower(ImageTower):
    """One convolution over crops of 8 pixels."""

    embed_dim = D
    mean = (122.0, 116.0, 104.0)
    std = (68.0, 66.0, 70.0)
    input_size = 8
    fingerprint = 'one convolution'

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, D, 8)
        self.conv.weight.data.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
        self.conv.bias.data.zero_()

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        return nn.functional.normalize(self.conv(images_B3HW).flatten(1), dim=1)


def crops(**fusion: object) -> dict:
    """A region encoder, and how it is blended."""
    return dict(
        regions=dict(type='vlm_dense.CropReader', tower=dict(type='vlm_dense.ColourTower'), logit_scale=20.0),
        fusion={**dict(type='vlm_dense.ScoreFusion', base_power=0.3, novel_power=0.6), **fusion},
    )


def network(kind: str = 'MaskFormer', **head: object) -> tuple[dict, dict]:
    """Configs of a backbone and of a mask head, whose logits are far apart."""
    parts = mask_former_parts() if kind == 'MaskFormer' else {**mask2former_parts(), 'train_cfg': dict(num_points=64)}
    parts['in_channels'] = CHANNELS
    settings = dict(type=f'vlm_dense.OV{kind}Head', classifier=classifier(), **parts)
    return dict(type='mmdet.ResNet', depth=18, base_channels=8), {**settings, **head}


def built(config: dict) -> nn.Module:
    """With masks that have an inside and an outside."""
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def segmentor(test_cfg: dict | None = None, kind: str = 'MaskFormer', head: dict | None = None, **more: Any) -> Any:
    backbone, decode_head = network(kind, **(head or {}))
    settings = dict(text_bank=dict(type='vlm_dense.HashNames'), test_cfg=test_cfg, **more)
    preprocessor = dict(type='mmseg.SegDataPreProcessor', size_divisor=32, **NORMALISED)
    parts = dict(backbone=backbone, decode_head=decode_head, data_preprocessor=preprocessor)
    return built(dict(type='vlm_dense.OVMaskSegmentor', **parts, **settings))


def detector(test_cfg: dict | None = None, kind: str = 'MaskFormer', **more: Any) -> Any:
    backbone, mask_head = network(kind)
    preprocessor = dict(
        type='mmdet.DetDataPreprocessor', pad_size_divisor=32, pad_mask=True, pad_seg=True, **NORMALISED
    )
    settings = dict(text_bank=dict(type='vlm_dense.HashNames'), test_cfg=test_cfg)
    parts = dict(backbone=backbone, mask_head=mask_head, data_preprocessor=preprocessor)
    return built(dict(type='vlm_dense.OVMaskDetector', **{**parts, **settings, **more}))


def words(*names: str, **columns: Any) -> Vocabulary:
    """With base words among them, unless others are named."""
    return Vocabulary.from_words(names or WORDS, **{'base': (names or WORDS)[:3], **columns})


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed)) * 255
    return nn.functional.interpolate(coarse, (height, width), mode='bilinear')[0].to(torch.uint8)


def seg_sample(labels_HW: Tensor, vocabulary: Vocabulary, original: tuple[int, int] | None = None) -> SegDataSample:
    shape = tuple(labels_HW.shape)
    sample = SegDataSample(metainfo=dict(ori_shape=original or shape, img_shape=shape, vocabulary=vocabulary))
    sample.gt_sem_seg = PixelData(data=labels_HW[None])
    return sample


def det_sample(labels_HW: Tensor, vocabulary: Vocabulary, original: tuple[int, int] | None = None) -> DetDataSample:
    """Two instances of word 0 where the map has label 0, left and right; the map is the truth of the rest."""
    shape = tuple(labels_HW.shape)
    sample = DetDataSample(metainfo=dict(ori_shape=original or shape, img_shape=shape, vocabulary=vocabulary))
    is_left_HW = torch.arange(shape[1]).expand(shape) < shape[1] // 2
    masks = torch.stack([(labels_HW == 0) & is_left_HW, (labels_HW == 0) & ~is_left_HW]).numpy().astype('uint8')
    sample.gt_instances = InstanceData(labels=torch.tensor([0, 0]), masks=BitmapMasks(masks, *shape))
    sample.gt_instances.bboxes = torch.zeros(2, 4)
    sample.gt_sem_seg = PixelData(sem_seg=labels_HW[None])
    return sample


def stripes(height: int, width: int, labels: tuple[int, ...] = (0, 1, 2, 255)) -> Tensor:
    """A label map of horizontal stripes."""
    return torch.tensor(labels)[torch.arange(height) * len(labels) // height][:, None].repeat(1, width)
