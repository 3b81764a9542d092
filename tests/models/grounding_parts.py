"""Our grounding head and mmdet's with the same random weights, and what both are asked."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from vlm_dense.models.grounding import PromptTokens, TextTokens
from vlm_dense.registry import MODELS

WIDE = 256  # tokens that mmdet pads texts to
SIZES = ((12, 16), (6, 8), (3, 4), (2, 2), (1, 1))  # cells of the levels of a picture of 96 x 128 pixels
METAS = [
    {'img_shape': (96, 128), 'ori_shape': (192, 256), 'scale_factor': (0.5, 0.5), 'pad_shape': (96, 128)},
    {'img_shape': (90, 120), 'ori_shape': (90, 120), 'scale_factor': (1.0, 1.0), 'pad_shape': (96, 128)},
]
TOKENS_OF_WORDS = ((1, 2), (4,), (6, 7, 8), (10,))  # of prompts of 12 tokens


def shared_config(**test: Any) -> dict[str, Any]:
    """What mmdet's GLIP configs give the head."""
    return dict(
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=8,
            scales_per_octave=1,
            strides=[8, 16, 32, 64, 128],
            center_offset=0.5,
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoderForGLIP', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        train_cfg=ConfigDict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
        test_cfg=ConfigDict(
            {'nms_pre': 30, 'min_bbox_size': 0, 'score_thr': 0.05, 'max_per_img': 40, **test},
            nms=dict(type='nms', iou_threshold=0.6),
        ),
    )


def theirs(folder: Path, fuse: bool, width: int = 256, blocks: int = 2, **test: Any) -> nn.Module:
    """mmdet's head; only old versions of transformers run it with fusion, and it fuses 256 channels only."""
    from mmdet.registry import MODELS as MMDET
    from transformers import BertConfig

    BertConfig().save_pretrained(folder)
    focal = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
    return MMDET.build(
        dict(
            type='ATSSVLFusionHead',
            num_classes=80,
            in_channels=width,
            feat_channels=width,
            early_fuse=fuse,
            num_dyhead_blocks=blocks,
            lang_model_name=str(folder),
            loss_cls=focal,
            **shared_config(**test),
        )
    )


def ours(fuse: bool, width: int = 256, blocks: int = 2, head: dict | None = None, **test: Any) -> nn.Module:
    """Our head with the same arguments."""
    config = dict(
        type='vlm_dense.GroundingHead',
        in_channels=width,
        feat_channels=width,
        early_fuse=fuse,
        num_blocks=blocks,
        loss_cls=dict(type='vlm_dense.TokenFocalLoss'),
    )
    return MODELS.build({**config, **shared_config(**test), **(head or {})})


def scatter_weights(head: nn.Module) -> None:
    """Weights with which scores, boxes and losses are of every size."""
    with torch.no_grad():
        for name, weight in head.named_parameters():
            if weight.ndim > 1:
                spread = 0.02 if 'dyhead_tower' in name else 0.2
                weight.normal_(0, spread if 'bbox_pred' not in name else 0.05)
            elif 'bias' in name and name != 'head.bias0':
                weight.normal_(0, 0.1)
        head.head.bias0.fill_(-1.0)
        for level, scale in enumerate(head.head.scales):
            scale.scale.fill_(1 + 0.1 * level)


def pyramid(batch: int = 2, width: int = 256) -> list[Tensor]:
    """Random maps."""
    return [torch.randn(batch, width, *size) for size in SIZES]


def with_same_weights(folder: Path, fuse: bool, **settings: Any) -> tuple[nn.Module, nn.Module]:
    """Our head and mmdet's, for testing."""
    expected = theirs(folder, fuse=fuse, **settings)
    scatter_weights(expected)
    found = ours(fuse=fuse, **settings)
    found.load_state_dict(expected.state_dict(), strict=True)
    return found.eval(), expected.eval()


def texts(lengths: tuple[int, ...] = (12, 9)) -> TextTokens:
    """Random texts of these many tokens."""
    is_token_BL = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    hidden_BLC = torch.randn(len(lengths), max(lengths), 768)
    return TextTokens(hidden_BLC, hidden_BLC * is_token_BL[..., None], is_token_BL)


def twice(text: TextTokens) -> TextTokens:
    """A text for each of two pictures."""
    return TextTokens(*(part.repeat(2, *[1] * (part.ndim - 1)) for part in text[:3]))


def their_text(text: TextTokens, wide: int = WIDE) -> dict[str, Tensor]:
    """The same texts padded as mmdet pads them, with rubbish where there is no token."""
    batch, length, width = text.hidden_BLC.shape
    rubbish = torch.randn(batch, wide - length, width)
    masks = torch.cat([text.is_token_BL, torch.zeros(batch, wide - length, dtype=torch.bool)], dim=1).long()
    return {
        'hidden': torch.cat([text.hidden_BLC, rubbish], dim=1),
        'embedded': torch.cat([text.embedded_BLC, 0 * rubbish], dim=1),
        'masks': masks,
    }


def prompt_of(text: TextTokens, first_row: int = 0) -> PromptTokens:
    """The words of a text of 12 tokens."""
    token_map_KL = torch.zeros(len(TOKENS_OF_WORDS), text.hidden_BLC.shape[1])
    for row, tokens in enumerate(TOKENS_OF_WORDS):
        token_map_KL[row, list(tokens)] = 1 / len(tokens)
    return PromptTokens(text, token_map_KL, torch.arange(len(TOKENS_OF_WORDS)) + first_row)


def truths(counts: tuple[int, ...] = (3, 2), wide: int = WIDE) -> list[DetDataSample]:
    """Pictures with these many ground truths, each naming a token below 9."""
    samples = []
    for count, meta in zip(counts, METAS, strict=True):
        corner = torch.rand(count, 2) * 40
        boxes = torch.cat([corner, corner + 8 + torch.rand(count, 2) * 50], dim=1)
        maps = torch.zeros(count, wide)
        maps[torch.arange(count), torch.randint(1, 8, (count,))] = 1
        maps[:, 8] = maps[:, 3]
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.zeros(count, dtype=torch.long), positive_maps=maps
        )
        samples.append(sample)
    return samples


def trimmed(samples: list[DetDataSample], length: int) -> list[DetDataSample]:
    """The same truths with positive maps of this many tokens."""
    result = deepcopy(samples)
    for sample in result:
        sample.gt_instances.positive_maps = sample.gt_instances.positive_maps[:, :length]
    return result


def their_samples(words: int = len(TOKENS_OF_WORDS)) -> list[DetDataSample]:
    """What mmdet's ``predict`` reads: tokens by label, which starts at 1."""
    samples = [DetDataSample(metainfo=meta) for meta in METAS]
    for sample in samples:
        sample.token_positive_map = {row + 1: list(tokens) for row, tokens in enumerate(TOKENS_OF_WORDS[:words])}
    return samples


def assert_same_detections(found: list[InstanceData], expected: list[InstanceData], atol: float = 1e-4) -> None:
    """Boxes, scores and labels in the same order; there have to be some."""
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other) > 3
        torch.testing.assert_close(one.scores, other.scores, atol=atol, rtol=0)
        torch.testing.assert_close(one.bboxes, other.bboxes, atol=atol, rtol=0)
        assert one.labels.tolist() == other.labels.tolist()
