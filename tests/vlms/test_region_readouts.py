"""Regions of a stage map to embeddings: open_clip's own pooling, `encode_image`, and torchvision's RoIAlign."""

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import AttentionPooling, ImageNetTower, OpenClipTower, TowerTail, pool_tokens

CLOSE = {'rtol': 0, 'atol': 1e-4}
STAGES = {-1: (32, 2), 3: (32, 2), 2: (16, 4), 1: (8, 8)}  # stride, and cells per side of a 64-pixel picture


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def test_attention_pooling_equals_open_clips(tower_of) -> None:
    pool = tower_of('resnet').visual.attnpool
    region_NChw = torch.randn(5, 512, 2, 2)
    torch.testing.assert_close(AttentionPooling(pool)(region_NChw)[:, :, 0, 0], pool(region_NChw), **CLOSE)


@pytest.mark.parametrize('size', [(2, 2), (3, 5), (1, 1)])
def test_attention_pooling_is_the_first_of_all_tokens(tower_of, size: tuple[int, int]) -> None:
    pool = tower_of('resnet').visual.attnpool
    region_NChw = torch.randn(3, 512, *size)
    pooled_ND11 = AttentionPooling(pool)(region_NChw)
    assert pooled_ND11.shape == (3, 32, 1, 1)
    torch.testing.assert_close(pooled_ND11[:, :, 0, 0], pool_tokens(pool, region_NChw)[:, 0], **CLOSE)


@pytest.mark.parametrize('name', ['RN50', None])
def test_a_whole_picture_as_region_is_encode_image(tower_of, name: str | None) -> None:
    """RoIAlign with one sample per cell at native size returns the map; the published size, then the tiny one."""
    tower = OpenClipTower(name) if name else tower_of('resnet')
    twin = open_clip.create_model(tower._source.name).eval()
    twin.visual.load_state_dict(tower.visual.state_dict())
    side = tower.input_size
    images = torch.randn(2, 3, side, side)
    expected_BD = twin.encode_image(images, normalize=True)
    whole = [torch.tensor([[0.0, 0.0, side, side]])] * 2
    for stage, stride in ((3, 32), (2, 16)):
        map_BChw = tower.pyramid(images)[stage]
        region_NChw = roi_align(map_BChw, whole, side // stride, 1 / stride, sampling_ratio=1, aligned=True)
        torch.testing.assert_close(tower.embed_regions(region_NChw, stage), expected_BD, **CLOSE)


@pytest.mark.parametrize('stage', STAGES)
def test_tails_continue_the_pyramid(tower_of, stage: int) -> None:
    tower = tower_of('resnet')
    images = torch.randn(2, 3, 64, 64)
    map_BChw = tower.pyramid(images)[stage]
    assert map_BChw.shape[2:] == (STAGES[stage][1],) * 2
    pooled_BD = tower.tail(stage)(map_BChw)[:, :, 0, 0]
    torch.testing.assert_close(F.normalize(pooled_BD, dim=1), tower.embed_images(images), **CLOSE)


@pytest.mark.parametrize('stage', [3, 2, 1, 0])
def test_tails_of_the_packaged_tower(stage: int) -> None:
    tower = ImageNetTower()
    tower.center_map.copy_(torch.rand(1280))
    images = torch.randn(2, 3, 64, 96)
    map_BChw = tower.pyramid(images)[stage]
    torch.testing.assert_close(tower.tail(stage)(map_BChw), tower.features(images), **CLOSE)
    expected_BD = F.normalize(tower.features(images).mean(dim=(2, 3)) - tower.center_map, dim=1)
    torch.testing.assert_close(tower.embed_regions(map_BChw, stage), expected_BD, **CLOSE)


def test_a_tail_is_the_towers_own_layers(tower_of) -> None:
    tower = tower_of('resnet')
    own = {id(parameter) for parameter in tower.parameters()}
    assert {id(parameter) for parameter in tower.tail(2).parameters()} <= own


@pytest.mark.parametrize(('stage', 'channels', 'size'), [(-1, 512, 7), (2, 256, 14)])
def test_shared_roi_heads(tiny_models, stage: int, channels: int, size: int) -> None:
    config = {'type': 'vlm_dense.OpenClipTower', 'name': tiny_models['resnet']}
    head = MODELS.build({'type': 'vlm_dense.TowerTail', 'tower': config, 'stage': stage}).train()
    region_NChw = torch.randn(4, channels, size, size)
    found_ND11 = head(region_NChw)
    assert found_ND11.shape == (4, head.out_channels, 1, 1)
    expected_ND = OpenClipTower(tiny_models['resnet']).embed_regions(region_NChw, stage)
    torch.testing.assert_close(F.normalize(found_ND11[:, :, 0, 0], dim=1), expected_ND, **CLOSE)
    assert head(region_NChw[:0]).shape == (0, head.out_channels, 1, 1)


def test_no_regions(tower_of) -> None:
    assert tower_of('resnet').embed_regions(torch.zeros(0, 512, 7, 7)).shape == (0, 32)
    assert ImageNetTower().embed_regions(torch.zeros(0, 320, 4, 4)).shape == (0, 1280)


def test_limits_are_named(tiny_models) -> None:
    with pytest.raises(ConfigError, match='the pyramid has 4 maps, 0 to 3'):
        OpenClipTower(tiny_models['resnet']).tail(4)
    with pytest.raises(ConfigError, match='the pyramid has 4 maps'):
        TowerTail(ImageNetTower(), stage=-5)
    with pytest.raises(ConfigError, match='has no tail after its pyramid here'):
        OpenClipTower(tiny_models['vit']).embed_regions(torch.zeros(1, 64, 3, 3))
