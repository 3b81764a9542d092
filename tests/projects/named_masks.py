"""What the tests of methods that name masks share: a shrunk recipe, a picture, and papers' formulas in numpy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement
from mmseg.structures import SegDataSample
from recipe_parts import HashedBank
from recipes import tiny_recipe
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.models.heads.mask import Segments
from vlm_dense.models.pictures import pictures_of
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

HEIGHT, WIDTH = 64, 96  # multiples of 32, to which pictures are padded
SCALE = 100.0


class RolledBank(HashedBank):
    """Other rows than those of `HashedBank`, so that the two banks of a model are told apart."""

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        return super().__call__(vocabulary).roll(1, dims=1)


class Parts(NamedTuple):
    """What the networks say about one picture, before any word; N masks, D width, H W pixels.

    ``embed_ND`` and ``region_ND`` are unit rows, ``void_D`` is as it stands in the head, ``mask_NHW`` are logits at the
    size of the picture, ``is_base_K`` tells seen words.
    """

    embed_ND: np.ndarray
    void_D: np.ndarray
    region_ND: np.ndarray
    empty_N: np.ndarray
    mask_NHW: np.ndarray
    own_KD: np.ndarray
    words_KD: np.ndarray
    is_base_K: np.ndarray


def tiny_model(name: str, root: Path) -> tuple[Config, nn.Module]:
    """A shrunk recipe with the paper's scale, and its model in eval mode, whose masks differ; the first is empty."""
    config = tiny_recipe(name, root)
    config.model.decode_head.classifier.temperature = 1 / SCALE
    config.model.test_cfg.keep_scores = True
    if config.model.regions.tower.type == 'vlm_dense.OpenClipTower':
        # To a random transformer all pictures are alike.
        config.model.regions.tower = dict(type='vlm_dense.OneConvTower')
    model = MODELS.build(config.model)
    model.init_weights()
    spread_masks(model.decode_head)
    return config, model.eval()


def spread_masks(head: nn.Module) -> None:
    """Queries that learned nothing are alike, so what they give is moved apart."""
    generator = torch.Generator().manual_seed(0)
    embed_ND = torch.randn(head.num_queries, head.classifier.embed_dim, generator=generator)
    patch_1Nhw = 6 * torch.randn(1, head.num_queries, 4, 5, generator=generator)
    patch_1Nhw[:, 0] = -1000
    found = head.segments

    def segments(*inputs: Any) -> Segments:
        embed_BND, mask_BNhw = found(*inputs)
        patch_1NHW = functional.interpolate(patch_1Nhw, size=mask_BNhw.shape[2:])
        return Segments(functional.normalize(embed_BND, dim=2) + 0.1 * embed_ND, mask_BNhw + patch_1NHW)

    head.segments = segments


def asked(model: nn.Module, words: Sequence[str], base: Sequence[str]) -> tuple[BaseDataElement, Parts]:
    """The model's answer about a picture, and what its networks say about it."""
    generator = torch.Generator().manual_seed(0)
    coarse_3hw = torch.randint(0, 256, (1, 3, 4, 5), generator=generator).float()
    picture_3HW = functional.interpolate(coarse_3hw, size=(HEIGHT, WIDTH))[0].to(torch.uint8)
    vocabulary = Vocabulary.from_words(words, base=base)
    sample = SegDataSample(metainfo=dict(img_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH), vocabulary=vocabulary))
    batch = model.data_preprocessor(dict(inputs=[picture_3HW], data_samples=[sample]), False)
    images_13HW = batch['inputs']
    with torch.no_grad():
        maps = model.backbone(images_13HW)
        embed_1ND, mask_1Nhw = model.decode_head.segments(maps, (HEIGHT, WIDTH))
        region_1ND, empty_1N = model.regions(pictures_of(images_13HW, model.data_preprocessor), None, (), mask_1Nhw)
        mask_1NHW = functional.interpolate(mask_1Nhw, size=(HEIGHT, WIDTH), mode='bilinear')
        (answer,) = model.predict(images_13HW, batch['data_samples'])
    bank, region_bank = model.__dict__['text_bank'], model.__dict__['region_bank']
    tensors = (
        functional.normalize(embed_1ND[0], dim=1),
        model.decode_head.classifier.extra.learned_ED[0].detach(),
        region_1ND[0],
        empty_1N[0],
        mask_1NHW[0],
        bank(vocabulary),
        region_bank(vocabulary),
    )
    arrays = [tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy() for tensor in tensors]
    return answer, Parts(*arrays, np.array(vocabulary.is_base))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def own_logits(parts: Parts, void_D: np.ndarray) -> np.ndarray:
    """Cosines times the scale, the void last: (N, K + 1)."""
    return SCALE * parts.embed_ND @ np.vstack([parts.own_KD, void_D]).T


def score_maps(score_NK: np.ndarray, mask_NHW: np.ndarray) -> np.ndarray:
    """MaskFormer's semantic inference (arXiv:2107.06278, Sec. 3.4): (K, H, W)."""
    return np.einsum('nk,nhw->khw', score_NK, 1 / (1 + np.exp(-mask_NHW)))


def assert_same(answer: BaseDataElement, map_KHW: np.ndarray) -> None:
    """Scores and labels of an answer are those of the maps."""
    np.testing.assert_allclose(answer.seg_logits.data.numpy(), map_KHW, rtol=1e-4, atol=1e-5)
    taken_1HW = np.take_along_axis(map_KHW, answer.pred_sem_seg.data.numpy(), 0)
    np.testing.assert_allclose(taken_1HW[0], map_KHW.max(0), atol=1e-5)


def labels_of(answer: BaseDataElement) -> set[int]:
    """Labels of more than a hundred pixels."""
    return set((np.bincount(answer.pred_sem_seg.data.numpy().ravel()) > 100).nonzero()[0].tolist())
