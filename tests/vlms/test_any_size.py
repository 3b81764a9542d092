"""Whole pictures of any size, and timm's vision transformers at any size, against models made for that size."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vlm_dense.vlms import OpenClipTower

CLOSE = {'rtol': 0, 'atol': 1e-4}
TIMM_VITS = ['timmvit', 'averaging', 'eva', 'siglip']
SIZES = [(64, 64), (48, 112), (112, 48), (32, 32), (16, 160)]


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def timm_made_for(tower: OpenClipTower, size: tuple[int, int]) -> Any:
    visual = deepcopy(tower.visual)
    visual.set_input_size(size)
    return visual


@pytest.mark.parametrize('kind', TIMM_VITS)
@pytest.mark.parametrize('size', SIZES)
def test_timm_vits_equal_ones_made_for_that_size(tower_of, kind: str, size: tuple[int, int]) -> None:
    tower = tower_of(kind)
    state = {name: value.clone() for name, value in tower.visual.state_dict().items()}
    images = torch.randn(2, 3, *size)
    other = timm_made_for(tower, size)
    taps = [-(-part * len(other.trunk.blocks) // 4) - 1 for part in (1, 2, 3, 4)]
    expected = other.trunk.forward_intermediates(images, taps, return_prefix_tokens=True, intermediates_only=True)
    for found, pair in zip(tower.pyramid(images), expected, strict=True):
        torch.testing.assert_close(found, pair[0] if isinstance(pair, tuple) else pair, **CLOSE)
    if kind in ('timmvit', 'eva'):
        for (map_BChw, token_BC), pair in zip(tower.class_token_pyramid(images), expected, strict=True):
            torch.testing.assert_close(map_BChw, pair[0], **CLOSE)
            torch.testing.assert_close(token_BC, pair[1][:, 0], **CLOSE)
    torch.testing.assert_close(tower.embed_images(images), F.normalize(other(images), dim=-1), **CLOSE)
    native = torch.randn(1, 3, tower.input_size, tower.input_size)
    torch.testing.assert_close(tower.embed_images(native), F.normalize(tower.visual(native), dim=-1))
    assert all(torch.equal(state[name], value) for name, value in tower.visual.state_dict().items())


@pytest.mark.parametrize('kind', TIMM_VITS)
@pytest.mark.parametrize('size', [(64, 64), (48, 112)])
def test_timm_vit_cells(tower_of, kind: str, size: tuple[int, int]) -> None:
    tower = tower_of(kind)
    images = torch.randn(2, 3, *size)
    other = timm_made_for(tower, size)
    trunk = other.trunk
    tokens_BLC = trunk.forward_features(images)[:, trunk.num_prefix_tokens :]
    if kind == 'siglip':
        pool = trunk.attn_pool
        value_BLC = F.linear(tokens_BLC, *(part.chunk(2)[1] for part in (pool.kv.weight, pool.kv.bias)))
        answer_BLC = pool.proj(value_BLC)
        hidden_BLC = F.gelu(pool.mlp.fc1(F.layer_norm(answer_BLC, (32,), pool.norm.weight, pool.norm.bias, 1e-6)))
        expected_BLD = answer_BLC + pool.mlp.fc2(hidden_BLC)
    elif kind == 'eva':
        expected_BLD = trunk.head(tokens_BLC)
    else:
        expected_BLD = trunk.fc_norm(tokens_BLC) @ other.head.proj.weight.T
    grid = (size[0] // 16, size[1] // 16)
    expected_BDhw = F.normalize(expected_BLD, dim=-1).transpose(1, 2).unflatten(2, grid)
    torch.testing.assert_close(tower.embed_dense(images), expected_BDhw, **CLOSE)


def test_a_head_with_all_attention_on_one_cell_says_that_cell(tower_of) -> None:
    tower = tower_of('siglip')
    assert tower.readout == 'value'
    images = torch.randn(1, 3, 64, 64)
    trunk = tower.visual.trunk
    tokens_BLC = trunk.forward_features(images)
    dense_DL = tower.embed_dense(images)[0].flatten(1)
    for cell in (0, 5, 15):
        closed_11L = torch.full((1, 1, 16), -torch.inf)
        closed_11L[..., cell] = 0
        expected_BD = F.normalize(trunk.attn_pool(tokens_BLC, attn_mask=closed_11L), dim=-1)
        torch.testing.assert_close(dense_DL[:, cell], expected_BD[0], **CLOSE)


@pytest.mark.parametrize('kind', ['averaging', 'eva'])
def test_one_cell_is_what_its_head_pools(tower_of, kind: str) -> None:
    """An average over equal cells is any of them: fc_norm and head act on both alike."""
    tower = tower_of(kind)
    trunk = tower.visual.trunk
    token_1LC = torch.randn(1, 1, trunk.embed_dim).expand(1, trunk.num_prefix_tokens + 9, -1)
    for layer in trunk.blocks:
        layer.register_forward_hook(lambda *_: token_1LC)
    size = (48, 48)
    dense_BDhw, picture_BD = tower.embed_dense(torch.randn(1, 3, *size)), tower.embed_images(torch.randn(1, 3, *size))
    torch.testing.assert_close(dense_BDhw, picture_BD[:, :, None, None].expand(-1, -1, 3, 3), **CLOSE)


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
def test_the_choice_of_interpolation(tower_of, interpolation: str) -> None:
    tower = tower_of('eva', interpolation=interpolation)
    other = timm_made_for(tower, (96, 128))
    positions_1LC = tower.visual.trunk.pos_embed
    grid_1Chw = positions_1LC[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    cells_1LC = F.interpolate(grid_1Chw, (6, 8), mode=interpolation, antialias=True).flatten(2).transpose(1, 2)
    other.trunk.pos_embed = nn.Parameter(torch.cat([positions_1LC[:, :1], cells_1LC], dim=1))
    images = torch.randn(1, 3, 96, 128)
    torch.testing.assert_close(tower.embed_images(images), F.normalize(other(images), dim=-1), **CLOSE)


@pytest.mark.parametrize('kind', ['vit', 'quickgelu', 'custom', 'coca', 'resnet'])
@pytest.mark.parametrize('side', [32, 96])
def test_whole_pictures_of_another_size(tower_of, kind: str, side: int) -> None:
    tower = tower_of(kind)
    if kind == 'resnet':
        side *= 2
    other = open_clip.create_model(tower._source.name, force_image_size=side).eval()
    state = {f'visual.{name}': value for name, value in tower.visual.state_dict().items()}
    if kind == 'resnet':
        positions_LC = state['visual.attnpool.positional_embedding']
        grid_1Chw = positions_LC[1:].T.unflatten(1, (2, 2))[None]
        cells = side // 32
        resized = F.interpolate(grid_1Chw, (cells, cells), mode='bicubic', antialias=True).flatten(2)[0].T
        state['visual.attnpool.positional_embedding'] = torch.cat([positions_LC[:1], resized])
    else:
        open_clip.model.resize_pos_embed(state, other)
    other.visual.load_state_dict({name.removeprefix('visual.'): value for name, value in state.items()})
    images = torch.randn(2, 3, side, side)
    torch.testing.assert_close(tower.embed_images(images), other.encode_image(images, normalize=True), **CLOSE)


def test_convnext_takes_rectangles(tower_of) -> None:
    tower = tower_of('convnext')
    images = torch.randn(2, 3, 97, 40)
    torch.testing.assert_close(tower.embed_images(images), F.normalize(tower.visual(images), dim=-1), **CLOSE)


@pytest.mark.parametrize('kind', ['vit', 'resnet', *TIMM_VITS])
def test_pixels_beyond_the_last_cell_and_other_pictures_do_not_count(tower_of: Callable, kind: str) -> None:
    tower = tower_of(kind)
    images = torch.randn(2, 3, 70, 100)
    assert tower.embed_images(images).shape == (2, tower.embed_dim)
    torch.testing.assert_close(tower.embed_images(images)[1:], tower.embed_images(images[1:]), **CLOSE)
    if kind != 'resnet':
        whole = images[..., :64, :96]
        torch.testing.assert_close(tower.embed_images(images), tower.embed_images(whole), **CLOSE)
