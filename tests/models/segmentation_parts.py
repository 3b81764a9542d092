"""A tiny segmentor, a bank without an encoder, and samples, for the segmentation tests."""

import hashlib
from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional

from vlm_dense.models.decode_heads.row_maps import RowMaps
from vlm_dense.models.segmentors.picture_maps import PictureMaps, View, Window
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

EMBED_DIM = 12
SIZE = 64


@MODELS.register_module()
class HashBank:
    """Unit vectors that depend on the word alone."""

    embed_dim = EMBED_DIM

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        return torch.stack([self.vector(word) for word in vocabulary.words])

    @staticmethod
    def vector(word: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], 'big')
        return functional.normalize(torch.randn(EMBED_DIM, generator=torch.Generator().manual_seed(seed)), dim=0)


def tiny_backbone() -> dict:
    return dict(
        type='mmseg.VisionTransformer',
        img_size=(SIZE, SIZE),
        patch_size=16,
        embed_dims=16,
        num_layers=4,
        num_heads=2,
        out_indices=(0, 1, 2, 3),
        output_cls_token=True,
    )


def tiny_head(background: str | None = None, **changes: object) -> dict:
    head = dict(
        type='vlm_dense.DPTPixelHead',
        in_channels=16,
        embed_dim=EMBED_DIM,
        reassemble_channels=(8, 8, 8, 8),
        channels=8,
        upsample=2,
        classifier=dict(
            type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED_DIM, temperature=0.07, background=background
        ),
    )
    head.update(changes)
    return head


def tiny_segmentor(background: str | None = None, test_cfg: dict | None = None, **head: object) -> torch.nn.Module:
    model = MODELS.build(
        dict(
            type='vlm_dense.OVEncoderDecoder',
            data_preprocessor=dict(type='mmseg.SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3),
            backbone=tiny_backbone(),
            decode_head=tiny_head(background, **head),
            text_bank=dict(type='vlm_dense.HashBank'),
            test_cfg=test_cfg,
        )
    )
    model.init_weights()
    return model


def keep_scores(model: torch.nn.Module) -> None:
    """Let predictions have ``seg_logits``."""
    model.test_cfg = {**(model.test_cfg or {}), 'keep_scores': True}


@torch.no_grad()
def labels_of(head: torch.nn.Module, maps: RowMaps, size: tuple[int, int], batch: int = 2) -> Tensor:
    """The labels (B, H, W) of a batch, none of its pictures being resized after."""
    window, meta = Window(slice(0, size[0]), slice(0, size[1]), maps), dict(ori_shape=size)
    pictures = [PictureMaps([View(size, (), [window])], row, meta, head.resize) for row in range(batch)]
    return torch.stack([head.labels(parts, Vocabulary.from_words(['any'])) for parts in pictures])


def samples(words: Sequence[str] | None, labels_BHW: Tensor, base: Sequence[str] = ()) -> list[SegDataSample]:
    found = []
    for labels_HW in labels_BHW:
        shape = tuple(labels_HW.shape)
        metainfo = dict(ori_shape=shape, img_shape=shape, pad_shape=shape)
        if words is not None:
            metainfo['vocabulary'] = Vocabulary.from_words(words, base=base)
        sample = SegDataSample(metainfo=metainfo)
        sample.gt_sem_seg = PixelData(data=labels_HW[None])
        found.append(sample)
    return found


def images(batch: int = 2, height: int = SIZE, width: int = SIZE) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def quadrants(batch: int = 2, num_labels: int = 4, size: int = SIZE) -> Tensor:
    """Label maps with one label per quarter of the picture."""
    rows = (torch.arange(size) * 2 // size)[:, None]
    columns = (torch.arange(size) * 2 // size)[None]
    return ((rows * 2 + columns) % num_labels).repeat(batch, 1, 1)
