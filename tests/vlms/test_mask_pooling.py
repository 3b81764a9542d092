"""Means inside masks: numpy, the towers' own cells and pictures, torch's attention over each mask's cells alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.vlms import FrozenTower, ImageNetTower, OpenClipTower, mask_weights, pool_masks

CLOSE = {'rtol': 0, 'atol': 1e-4}
READ_AS_CELLS = {'vit': 48, 'quickgelu': 48, 'convnext': 64, 'timmvit': 160, 'averaging': 160, 'siglip': 64, 'eva': 64}


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def one_cell_masks(height: int, width: int) -> torch.Tensor:
    """Logits (h w, h, w): the n-th mask is the n-th cell."""
    return torch.eye(height * width).unflatten(1, (height, width)) * 2 - 1


@pytest.mark.parametrize('kind', ['hard', 'soft'])
def test_means_equal_numpy(kind: str) -> None:
    features, masks = torch.randn(2, 5, 6, 8), torch.randn(2, 3, 12, 16)
    found, empty = pool_masks(features, masks, kind)
    resized = F.interpolate(masks, (6, 8), mode='bilinear').double().numpy()
    weights = (resized > 0).astype(float) if kind == 'hard' else 1 / (1 + np.exp(-resized))
    expected = np.einsum('bchw,bnhw->bnc', features.double().numpy(), weights) / weights.sum((2, 3))[..., None]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    assert not empty.any()


def test_booleans_count_as_coverage() -> None:
    masks = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    masks[0, 0, :, :1] = masks[0, 0, 0, 2:] = masks[0, 0, 1, 2] = True
    features = torch.zeros(1, 1, 2, 2)
    soft, _ = mask_weights(masks, features, 'soft')
    hard, _ = mask_weights(masks, features, 'hard')
    assert soft[0, 0].tolist() == [[0.5, 0.75], [0.5, 0.0]]
    assert hard[0, 0].tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize('kind', ['hard', 'soft'])
def test_empty_masks_are_flagged_and_read_the_whole_map(kind: str) -> None:
    features = torch.randn(1, 4, 3, 3)
    masks = torch.stack([torch.full((3, 3), -1e4), torch.full((3, 3), 1e4)])[None]
    found, empty = pool_masks(features, masks, kind)
    assert empty.tolist() == [[True, False]]
    torch.testing.assert_close(found, features.mean((2, 3))[:, None].expand(1, 2, 4))


@pytest.mark.parametrize('kind', READ_AS_CELLS)
def test_a_mask_of_one_cell_is_that_cell(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    images = torch.randn(2, 3, READ_AS_CELLS[kind], 2 * READ_AS_CELLS[kind])
    dense_BDhw = tower.embed_dense(images)
    masks = one_cell_masks(*dense_BDhw.shape[2:]).expand(2, -1, -1, -1)
    found_BND, empty_BN = tower.embed_masks(tower.pyramid(images)[-1], masks)
    torch.testing.assert_close(found_BND, dense_BDhw.flatten(2).transpose(1, 2), **CLOSE)
    assert not empty_BN.any()


def test_what_some_trunks_do_before_pooling_comes_first(tower_of) -> None:
    tower = tower_of('convnext')
    tower.visual.trunk.norm_pre = torch.nn.Tanh()
    images = torch.randn(1, 3, 64, 64)
    found_BND, _ = tower.embed_masks(tower.pyramid(images)[-1], torch.ones(1, 1, 2, 2))
    torch.testing.assert_close(found_BND[:, 0], tower.embed_images(images), **CLOSE)


@pytest.mark.parametrize('make', ['convnext', 'averaging', 'packaged'])
@pytest.mark.parametrize('kind', ['hard', 'soft'])
def test_the_full_mask_is_the_picture_where_a_tower_averages(tower_of, make: str, kind: str) -> None:
    tower = ImageNetTower() if make == 'packaged' else tower_of(make)
    if make == 'averaging':  # its norm comes before the mean, which is the same only where it does nothing
        tower.visual.trunk.norm = torch.nn.Identity()
    images = torch.randn(2, 3, tower.input_size, tower.input_size)
    masks = torch.full((2, 1, 64, 64), 3.0)
    found_BND, _ = tower.embed_masks(tower.pyramid(images)[-1], masks, kind)
    torch.testing.assert_close(found_BND[:, 0], tower.embed_images(images), **CLOSE)


def test_the_packaged_tower_subtracts_its_mean() -> None:
    tower = ImageNetTower()
    tower.center_map.copy_(torch.rand(1280))
    images, masks = torch.randn(1, 3, 64, 96), torch.randn(1, 4, 2, 3)
    found_BND, empty_BN = tower.embed_masks(tower.pyramid(images)[-1], masks)
    features = tower.features(images)[0] - tower.center_map[:, None, None]
    for mask, row, empty in zip(masks[0], found_BND[0], empty_BN[0], strict=True):
        cells = features.flatten(1) if empty else features[:, mask > 0]
        torch.testing.assert_close(row, F.normalize(cells.mean(dim=1), dim=0), **CLOSE)


def test_resnets_attend_to_the_cells_of_the_mask_alone(tower_of) -> None:
    tower = tower_of('resnet')
    images = torch.randn(2, 3, 64, 128)
    map_BChw = tower.pyramid(images)[-1]
    masks = torch.randn(2, 5, *map_BChw.shape[2:])
    masks[1, 2] = -1
    found_BND, empty_BN = tower.embed_masks(map_BChw, masks)
    assert empty_BN.nonzero().tolist() == [[1, 2]]
    pool = tower.visual.attnpool
    position_LC = pool.positional_embedding
    grid = F.interpolate(
        position_LC[1:].T.unflatten(1, (2, 2))[None], map_BChw.shape[2:], mode='bicubic', antialias=True
    )
    for image in range(2):
        cells = map_BChw[image].flatten(1).T
        query = (cells.mean(dim=0) + position_LC[0])[None]
        for number in range(5):
            inside = (masks[image, number] > 0).flatten() | empty_BN[image, number]
            keys = (cells + grid[0].flatten(1).T)[inside]
            expected = F.multi_head_attention_forward(
                query, keys, keys, 512, pool.num_heads, None,
                torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]), None, None, False, 0.0,
                pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True, q_proj_weight=pool.q_proj.weight,
                k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight, need_weights=False,
            )[0]  # fmt: skip
            torch.testing.assert_close(found_BND[image, number], F.normalize(expected[0], dim=0), **CLOSE)


@pytest.mark.parametrize('kind', ['vit', 'timmvit', 'convnext', 'resnet'])
def test_no_masks(tower_of, kind: str) -> None:
    tower = FrozenTower(tower_of(kind))
    map_BChw = tower.pyramid(torch.randn(2, 3, 64, 64))[-1]
    found_BND, empty_BN = tower.embed_masks(map_BChw, torch.zeros(2, 0, 9, 9))
    assert found_BND.shape == (2, 0, 32)
    assert empty_BN.shape == (2, 0)


def test_limits_are_named(tower_of, tiny_models) -> None:
    masks = torch.ones(1, 1, 2, 2)
    with pytest.raises(ConfigError, match="write kind='hard'"):
        tower_of('resnet').embed_masks(torch.zeros(1, 512, 2, 2), masks, 'soft')
    for kind in ('timm', 'rotating', 'maximum', 'coca', 'swin'):
        with pytest.raises(ConfigError, match='reads no masks here'):
            tower_of(kind).embed_masks(torch.zeros(1, 64, 2, 2), masks)
    with pytest.raises(ConfigError, match='End with 3'):
        OpenClipTower(tiny_models['vit'], taps=[0, 1]).embed_masks(torch.zeros(1, 64, 2, 2), masks)
    with pytest.raises(ConfigError, match="write 'hard' or 'soft'"):
        pool_masks(torch.zeros(1, 4, 2, 2), masks, 'fuzzy')
    with pytest.raises(DataError, match='2 maps came with the masks of 1 pictures'):
        pool_masks(torch.zeros(2, 4, 2, 2), masks)
