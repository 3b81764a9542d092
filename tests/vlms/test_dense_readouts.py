"""Cells of open_clip's towers against open_clip, transformers, torch's attention and the papers' formulas."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from vlm_dense.vlms import OpenClipTower
from vlm_dense.vlms.clip_resnet import pool_tokens, resnet_cells
from vlm_dense.vlms.clip_vit import start_tokens, transformer_cells
from vlm_dense.vlms.readouts import READOUTS, read_block
from vlm_dense.vlms.timm_trunk import trunk_cells

CLOSE = {'rtol': 0, 'atol': 1e-4}


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def open_clip_twin(tower: OpenClipTower) -> nn.Module:
    visual = open_clip.create_model(tower._source.name).visual.eval()
    visual.load_state_dict(tower.visual.state_dict())
    return visual


@pytest.mark.parametrize('kind', ['vit', 'quickgelu', 'scaled', 'custom'])
def test_transformer_equals_open_clip(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    images = torch.randn(2, 3, 48, 48)
    twin = open_clip_twin(tower)
    out = twin.forward_intermediates(images, indices=1, normalize_intermediates=True)
    expected = torch.einsum('bchw,cd->bdhw', out['image_intermediates'][-1], twin.proj)
    torch.testing.assert_close(transformer_cells(tower.visual, images, 'plain', 'bicubic'), expected, **CLOSE)
    torch.testing.assert_close(tower.embed_images(images), F.normalize(out['image_features'], dim=-1), **CLOSE)


def test_resnet_equals_torch_attention_over_all_tokens(tower_of) -> None:
    tower = tower_of('resnet', readout='plain')
    twin = open_clip_twin(tower)
    images = torch.randn(2, 3, 64, 64)
    map_BChw = twin.forward_intermediates(images, indices=1, intermediates_only=True)['image_intermediates'][-1]
    pool = twin.attnpool
    cells_BLC = map_BChw.flatten(2).transpose(1, 2)
    tokens_BLC = torch.cat([cells_BLC.mean(dim=1, keepdim=True), cells_BLC], dim=1) + pool.positional_embedding
    attention = nn.MultiheadAttention(512, pool.num_heads, batch_first=True)
    projections = (pool.q_proj, pool.k_proj, pool.v_proj)
    attention.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
    attention.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
    attention.out_proj = pool.c_proj
    weights_BLL = attention(tokens_BLC, tokens_BLC, tokens_BLC, average_attn_weights=False)[1]
    assert pool.num_heads > 1
    values = pool.v_proj(tokens_BLC).unflatten(-1, (pool.num_heads, -1))
    expected_BLD = pool.c_proj(torch.einsum('bnlm,bmnd->blnd', weights_BLL, values).flatten(2))
    torch.testing.assert_close(pool_tokens(tower.visual.attnpool, map_BChw), expected_BLD, **CLOSE)
    torch.testing.assert_close(expected_BLD[:, 0], twin(images), **CLOSE)
    expected_BDhw = F.normalize(expected_BLD[:, 1:].transpose(1, 2).unflatten(2, (2, 2)), dim=1)
    torch.testing.assert_close(tower.embed_dense(images), expected_BDhw, **CLOSE)


def test_resnet_value_path(tower_of) -> None:
    tower = tower_of('resnet')
    assert tower.readout == 'value'
    images = torch.randn(2, 3, 70, 100)
    twin = open_clip_twin(tower)
    x_BChw = twin.layer4(twin.layer3(twin.layer2(twin.layer1(twin.stem(images))))).numpy()
    weights = {name: value.numpy() for name, value in tower.visual.attnpool.state_dict().items()}
    values = np.einsum('bchw,dc->bhwd', x_BChw, weights['v_proj.weight']) + weights['v_proj.bias']
    cells = np.einsum('bhwc,dc->bdhw', values, weights['c_proj.weight']) + weights['c_proj.bias'][:, None, None]
    torch.testing.assert_close(
        resnet_cells(tower.visual, images, 'value', 'bicubic'), torch.from_numpy(cells), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(('kind', 'size'), [('convnext', (64, 64)), ('convnextmlp', (64, 64)), ('convnext', (97, 40))])
def test_convnext_cells(tower_of, kind: str, size: tuple[int, int]) -> None:
    tower = tower_of(kind)
    twin = open_clip_twin(tower)
    images = torch.randn(2, 3, *size)
    norm = twin.trunk.head.norm
    map_BChw = twin.forward_intermediates(images, indices=1, intermediates_only=True)['image_intermediates'][-1]
    rows_BhwC = F.layer_norm(map_BChw.permute(0, 2, 3, 1), (64,), norm.weight, norm.bias, norm.eps)
    if kind == 'convnext':
        expected = rows_BhwC @ twin.head.proj.weight.T
    else:
        fc1, fc2 = twin.head.mlp.fc1, twin.head.mlp.fc2
        expected = F.gelu(rows_BhwC @ fc1.weight.T + fc1.bias) @ fc2.weight.T
    torch.testing.assert_close(trunk_cells(tower.visual, images), expected.permute(0, 3, 1, 2), **CLOSE)
    dense_BDhw = tower.embed_dense(images)
    assert dense_BDhw.shape == (2, 32, size[0] // 32, size[1] // 32)
    torch.testing.assert_close(dense_BDhw, F.normalize(expected.permute(0, 3, 1, 2), dim=1), **CLOSE)


@pytest.mark.parametrize('kind', ['convnext', 'timm'])
def test_one_cell_is_the_pooled_picture(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    images = torch.randn(2, 3, 32, 32)
    pooled_BD = open_clip_twin(tower)(images)
    torch.testing.assert_close(tower.embed_dense(images)[:, :, 0, 0], F.normalize(pooled_BD, dim=-1), **CLOSE)


@pytest.mark.parametrize('activation', ['quick_gelu', 'gelu'])
def test_equals_transformers_clip(tiny_models, tmp_path: Path, activation: str) -> None:
    sizes = {'hidden_size': 64, 'intermediate_size': 256, 'projection_dim': 32, 'image_size': 48, 'patch_size': 16}
    config = CLIPVisionConfig(num_hidden_layers=4, num_attention_heads=4, hidden_act=activation, **sizes)
    theirs = CLIPVisionModelWithProjection(config).eval()
    for parameter in theirs.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    name = tiny_models['quickgelu' if activation == 'quick_gelu' else 'vit']
    tower = OpenClipTower(name, str(tmp_path), taps=(0, 2, 3))
    images = torch.randn(2, 3, 48, 48)
    expected = theirs(images, output_hidden_states=True)
    vision = theirs.vision_model
    cells_BLD = theirs.visual_projection(vision.post_layernorm(expected.last_hidden_state[:, 1:]))
    torch.testing.assert_close(tower.embed_images(images), F.normalize(expected.image_embeds, dim=-1), **CLOSE)
    dense_BLD = transformer_cells(tower.visual, images, 'plain', 'bicubic').flatten(2).transpose(1, 2)
    torch.testing.assert_close(dense_BLD, cells_BLD, **CLOSE)
    for tap, map_BChw in zip((0, 2, 3), tower.pyramid(images), strict=True):
        tokens_BLC = expected.hidden_states[tap + 1][:, 1:]
        torch.testing.assert_close(map_BChw.flatten(2).transpose(1, 2), tokens_BLC, **CLOSE)


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def layer_norm(x: np.ndarray, norm: nn.LayerNorm) -> np.ndarray:
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + norm.eps)
    return x * norm.weight.double().numpy() + norm.bias.double().numpy()


def linear(x: np.ndarray, weight: torch.Tensor, bias: torch.Tensor) -> np.ndarray:
    return x @ weight.double().numpy().T + bias.double().numpy()


ATTENTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'plain': lambda q, k: softmax(q @ k.T / 4),  # 4 is the root of a head's width
    'value': lambda q, k: np.eye(len(q)),
    'qq+kk': lambda q, k: softmax(q @ q.T / 4) + softmax(k @ k.T / 4),
    'qq': lambda q, k: softmax(q @ q.T / 4),
}


def last_block(block: nn.Module, x_LC: np.ndarray, readout: str) -> np.ndarray:
    """One picture through the last block, head by head, in double precision, from the papers' formulas."""
    attention = block.attn
    qkv = linear(layer_norm(x_LC, block.ln_1), attention.in_proj_weight, attention.in_proj_bias)
    heads = [[part[:, n : n + 16] for part in np.split(qkv, 3, axis=1)] for n in range(0, 64, 16)]
    mixed = np.concatenate([ATTENTIONS[readout](q, k) @ v for q, k, v in heads], axis=1)
    out = linear(mixed, attention.out_proj.weight, attention.out_proj.bias)
    if readout == 'qq':
        return out
    out = x_LC + out
    hidden = linear(layer_norm(out, block.ln_2), block.mlp.c_fc.weight, block.mlp.c_fc.bias)
    hidden = hidden / (1 + np.exp(-1.702 * hidden))
    return out + linear(hidden, block.mlp.c_proj.weight, block.mlp.c_proj.bias)


@pytest.mark.parametrize('readout', READOUTS)
@pytest.mark.parametrize('size', [(48, 48), (81, 130)])
def test_readouts_equal_their_formulas(tower_of, readout: str, size: tuple[int, int]) -> None:
    tower = tower_of('quickgelu', readout=readout)
    images = torch.randn(1, 3, *size)
    tokens_BLC, grid = start_tokens(tower.visual, images, 'bicubic')
    *early, last = tower.visual.transformer.resblocks
    for block in early:
        tokens_BLC = block(tokens_BLC)
    out_LC = last_block(last, tokens_BLC[0].double().numpy(), readout)
    expected_LD = layer_norm(out_LC, tower.visual.ln_post)[1:] @ tower.visual.proj.double().numpy()
    cells_LD = transformer_cells(tower.visual, images, readout, 'bicubic')[0].flatten(1).T
    torch.testing.assert_close(cells_LD, torch.from_numpy(expected_LD).float(), **CLOSE)
    expected_LD /= np.linalg.norm(expected_LD, axis=1, keepdims=True)
    dense_DL = tower.embed_dense(images)[0].flatten(1)
    torch.testing.assert_close(dense_DL.T, torch.from_numpy(expected_LD).float(), **CLOSE)
    assert grid == (size[0] // 16, size[1] // 16)


@pytest.mark.parametrize('kind', ['vit', 'quickgelu', 'scaled'])
def test_the_usual_attention_is_the_block_itself(tower_of, kind: str) -> None:
    block = tower_of(kind).visual.transformer.resblocks[-1]
    tokens_BLC = torch.randn(2, 7, 64)
    torch.testing.assert_close(read_block(block, tokens_BLC, 'plain'), block(tokens_BLC), atol=1e-5, rtol=1e-5)


def test_modes_differ_and_change_only_the_last_block(tower_of) -> None:
    images = torch.randn(1, 3, 64, 96)
    towers = [tower_of('vit', readout=readout) for readout in READOUTS]
    cells = [tower.embed_dense(images) for tower in towers]
    for number, one in enumerate(cells):
        assert all((one - other).abs().max() > 1e-2 for other in cells[number + 1 :])
    for tower in towers[1:]:
        for one, other in zip(tower.pyramid(images), towers[0].pyramid(images), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(tower.embed_images(images[..., :48, :48]), towers[0].embed_images(images[..., :48, :48]))


def test_a_token_of_the_value_path_in_the_last_block_sees_itself_only(tower_of) -> None:
    block = tower_of('vit').visual.transformer.resblocks[-1]
    tokens_BLC = torch.randn(1, 5, 64)
    changed_BLC = tokens_BLC.clone()
    changed_BLC[:, 2] += 1
    for readout, moves in (('value', 1), ('qq', 5), ('qq+kk', 5), ('plain', 5)):
        difference_L = (read_block(block, tokens_BLC, readout) - read_block(block, changed_BLC, readout)).abs().amax(2)
        assert (difference_L > 0).sum() == moves
