"""Regions read through the layers that come after the backbone's last map."""

import pytest
import torch
from recipe_parts import tiny_clip_resnet
from torchvision.ops import roi_align

from vlm_dense.errors import ConfigError
from vlm_dense.vlms import BackboneTail, ImageNetTower, TowerBackbone

TOWER = dict(type='vlm_dense.OpenClipTower', name=None)


def backbone_of(**settings: object) -> TowerBackbone:
    tower = dict(TOWER, name=tiny_clip_resnet())
    return TowerBackbone(tower, out_indices=(2,), **settings)


def test_a_whole_picture_as_region_is_encode_image() -> None:
    """open_clip's own tower makes the same of the picture, with its own attention pooling."""
    backbone = backbone_of(tune='stages:1', with_tail=True).eval()
    tail = BackboneTail()
    tail.take(backbone)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        map_BChw = tail(backbone(images)[0])
        region_BD = tail.pool(map_BChw)[..., 0, 0]
        torch.testing.assert_close(region_BD, backbone.tower.visual(images), rtol=1e-4, atol=1e-5)
    assert map_BChw.shape == (2, 512, 2, 2)


def test_regions_equal_open_clips_pooling_of_roi_features() -> None:
    backbone = backbone_of(with_tail=True).eval()
    tail = BackboneTail()
    tail.take(backbone)
    boxes = [torch.tensor([[3.0, 5.0, 60.0, 50.0], [20.0, 10.0, 90.0, 95.0]])]
    with torch.no_grad():
        (map_BChw,) = backbone(torch.randn(1, 3, 96, 96))
        regions = roi_align(map_BChw, boxes, 4, 1 / 16, sampling_ratio=0, aligned=True)
        visual = backbone.tower.visual
        expected = visual.attnpool(visual.layer4(regions))
        torch.testing.assert_close(tail.pool(tail(regions))[..., 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_every_weight_once_and_the_policy_holds_for_the_tail() -> None:
    backbone = backbone_of(tune='stages:1', with_tail=True)
    tail = BackboneTail()
    tail.take(backbone)
    assert list(tail.parameters()) == []
    assert tail.state_dict() == {}
    learns = {name.split('.')[2] for name, p in backbone.named_parameters() if p.requires_grad}
    assert learns == {'layer2', 'layer3', 'layer4', 'attnpool'}
    assert not [n for n, p in backbone.named_parameters() if p.requires_grad and ('.bn' in n or 'downsample.1' in n)]
    without = {name.split('.')[2] for name, p in backbone_of(tune='stages:1').named_parameters() if p.requires_grad}
    assert without == {'layer2', 'layer3'}
    assert not backbone.train().tower.visual.layer4[0].bn1.training


def test_a_tower_without_attention_pooling_keeps_its_cells() -> None:
    backbone = TowerBackbone(ImageNetTower(), out_indices=(3,), with_tail=True)
    tail = BackboneTail()
    tail.take(backbone)
    with torch.no_grad():
        map_BDhw = tail.pool(tail(torch.randn(2, 320, 4, 4)))
    assert map_BDhw.shape == (2, 1280, 4, 4)


def test_a_backbone_without_tail() -> None:
    with pytest.raises(ConfigError, match='with_tail=True'):
        BackboneTail().take(backbone_of())
    with pytest.raises(ConfigError, match='no backbone was given'):
        BackboneTail()(torch.randn(1, 256, 4, 4))
