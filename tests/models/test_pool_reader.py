"""Masks over a backbone's last map, pooled by hand through open_clip's and timm's own layers."""

from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from recipe_parts import tiny_clip_convnext, tiny_clip_resnet, tiny_clip_vit
from torch import Tensor, nn

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models.regions import PoolReader
from vlm_dense.registry import MODELS
from vlm_dense.vlms import OpenClipTower, TowerBackbone

CLOSE = {'rtol': 0, 'atol': 1e-4}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def shaken(name: str) -> tuple[TowerBackbone, Any]:
    """A backbone whose weights are far from ones and zeros, and open_clip's model with the same weights."""
    tower = OpenClipTower(name)
    for parameter in tower.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    twin = open_clip.create_model(name).eval()
    twin.visual.load_state_dict(tower.visual.state_dict())
    return TowerBackbone(tower).eval(), twin.visual


def reader_of(**settings: Any) -> PoolReader:
    return MODELS.build({'type': 'vlm_dense.PoolReader', **settings})


def masks_at_stride_4(height: int, width: int) -> Tensor:
    """Logits (2, 5, h, w); the third of each picture is empty."""
    masks = F.interpolate(torch.randn(2, 5, height // 32, width // 32), (height // 4, width // 4), mode='bilinear')
    masks[:, 2] = -1
    return masks


@pytest.mark.parametrize('kind', ['hard', 'soft'])
def test_convnext_equals_pooling_before_its_head_by_hand(kind: str) -> None:
    backbone, visual = shaken(tiny_clip_convnext())
    images, masks = torch.randn(2, 3, 96, 128), masks_at_stride_4(96, 128)
    dense = visual.trunk.forward_features(images)
    cells = F.interpolate(masks, dense.shape[-2:], mode='bilinear', align_corners=False)
    weights = (cells > 0).float() if kind == 'hard' else cells.sigmoid()
    empty = weights.sum((2, 3)) == 0
    found = reader_of(kind=kind)(torch.zeros(2, 3, 96, 128), backbone, backbone(images), masks)
    assert torch.equal(found.empty_BN, empty)
    for picture, mask in (~empty).nonzero().tolist():
        weight = weights[picture, mask]
        pooled = (dense[picture] * weight).sum((1, 2)) / weight.sum()
        expected = F.normalize(visual.head(visual.trunk.head(pooled[None, :, None, None])), dim=1)[0]
        torch.testing.assert_close(found.region_BND[picture, mask], expected, **CLOSE)


def test_nothing_can_be_a_cell_of_zeros() -> None:
    backbone, visual = shaken(tiny_clip_convnext())
    images, masks = torch.randn(2, 3, 96, 128), masks_at_stride_4(96, 128)
    pictures = torch.zeros(2, 3, 96, 128)
    found, usual = (
        reader_of(empty=empty)(pictures, backbone, backbone(images), masks) for empty in ('zeros', 'picture')
    )
    assert found.empty_BN.any()
    expected = F.normalize(visual.head(visual.trunk.head(torch.zeros(1, 64, 1, 1))), dim=1)
    torch.testing.assert_close(found.region_BND[found.empty_BN], expected.expand(int(found.empty_BN.sum()), -1))
    torch.testing.assert_close(found.region_BND[~found.empty_BN], usual.region_BND[~found.empty_BN])
    assert not torch.allclose(found.region_BND, usual.region_BND)


def test_resnet_equals_attention_to_the_cells_of_each_mask_by_hand() -> None:
    backbone, visual = shaken(tiny_clip_resnet())
    images, masks = torch.randn(2, 3, 64, 64), masks_at_stride_4(64, 64)
    map_BChw = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))
    hidden = ~(F.interpolate(masks, (2, 2), mode='bilinear').flatten(2) > 0)
    found = reader_of()(torch.zeros(2, 3, 64, 64), backbone, backbone(images), masks)
    assert torch.equal(found.empty_BN, hidden.all(2))
    pool = visual.attnpool
    cells_LBC = map_BChw.flatten(2).permute(2, 0, 1)
    tokens_LBC = torch.cat([cells_LBC.mean(0, keepdim=True), cells_LBC]) + pool.positional_embedding[:, None]
    hidden[hidden.all(2)] = False
    heads = pool.num_heads
    expected_NBD, _ = F.multi_head_attention_forward(
        tokens_LBC[:1].expand(5, -1, -1), tokens_LBC[1:], tokens_LBC[1:], tokens_LBC.shape[2], heads, None,
        torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]), None, None, False, 0.0,
        pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True, q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight, need_weights=False,
        attn_mask=hidden.repeat_interleave(heads, dim=0),
    )  # fmt: skip
    torch.testing.assert_close(found.region_BND, F.normalize(expected_NBD.transpose(0, 1), dim=2), **CLOSE)


def test_padding_belongs_to_no_mask() -> None:
    backbone, _ = shaken(tiny_clip_convnext())
    features, masks = backbone(torch.randn(2, 3, 128, 160)), torch.ones(2, 1, 32, 40)
    pictures = torch.zeros(2, 3, 128, 160)
    sizes = [(128, 160), (70, 65)]  # the second: three rows and three columns of cells
    found = reader_of()(pictures, backbone, features, masks, sizes)
    inside = torch.zeros(4, 5, dtype=torch.bool)
    inside[:3, :3] = True
    expected, _ = backbone.tower.embed_masks(features[-1], torch.stack([torch.ones_like(inside), inside])[:, None])
    torch.testing.assert_close(found.region_BND, expected)
    masks[1, :, 28:] = masks[1, :, :, 28:] = 9
    torch.testing.assert_close(reader_of()(pictures, backbone, features, masks, sizes).region_BND, expected)


def test_a_tower_beside_the_model_sees_whole_pictures() -> None:
    backbone, _ = shaken(tiny_clip_convnext())
    tower = backbone.tower
    reader = reader_of(tower=tower)
    pictures, masks = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8), masks_at_stride_4(96, 128)
    expected = reader_of()(pictures, backbone, backbone(tower.normalize(pictures)), masks)
    found = reader(pictures, nn.Identity(), (), masks)
    torch.testing.assert_close(found.region_BND, expected.region_BND)
    assert torch.equal(found.empty_BN, expected.empty_BN)
    assert not reader.state_dict()


def test_class_tokens_of_the_backbone_are_passed_over() -> None:
    tower = OpenClipTower(tiny_clip_vit(4))
    images, masks = torch.randn(1, 3, 96, 96), torch.randn(1, 3, 24, 24)
    rows = []
    for class_token in (False, True):
        backbone = TowerBackbone(tower, class_token=class_token).eval()
        rows.append(reader_of()(torch.zeros(1, 3, 96, 96), backbone, backbone(images), masks).region_BND)
    assert torch.equal(*rows)
    none = reader_of()(torch.zeros(1, 3, 96, 96), backbone, backbone(images), masks[:, :0])
    assert (none.region_BND.shape, none.empty_BN.shape) == ((1, 0, tower.embed_dim), (1, 0))


def test_limits_are_named() -> None:
    pictures, masks = torch.zeros(1, 3, 96, 96), torch.ones(1, 1, 24, 24)
    with pytest.raises(ConfigError, match='write one of picture, zeros'):
        reader_of(empty='nothing')
    with pytest.raises(ConfigError, match='Identity gives no map of a tower'):
        reader_of()(pictures, nn.Identity(), (pictures,), masks)
    backbone = TowerBackbone(OpenClipTower(tiny_clip_vit(4)), out_indices=(0, 1))
    with pytest.raises(ConfigError, match=r'end out_indices=\(0, 1\) of the backbone with 3'):
        reader_of()(pictures, backbone, backbone(pictures), masks)
    resnet = TowerBackbone(OpenClipTower(tiny_clip_resnet()))
    with pytest.raises(ConfigError, match="write kind='hard'"):
        reader_of(kind='soft')(pictures, resnet, resnet(pictures), masks)
    with pytest.raises(DataError, match='1 maps came with the masks of 2 pictures'):
        reader_of()(pictures, resnet, resnet(pictures), masks.expand(2, -1, -1, -1))
