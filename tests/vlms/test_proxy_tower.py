"""Proxy attention against numpy, and the keys that smoothing takes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.errors import CheckpointError, ConfigError
from vlm_dense.vlms import DenseBackbone, ImageNetTower, ImageTower, ProxyTower, proxy_attention
from vlm_dense.vlms.clip_vit import last_block_input

CLOSE = {'rtol': 0, 'atol': 1e-4}


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


class FinerTower(ImageTower):
    """Cells of 8 pixels, normalised in its own way."""

    mean = (100.0, 120.0, 90.0)
    std = (50.0, 60.0, 70.0)
    fingerprint = 'finer'

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 8, stride=8)

    def pyramid(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        return images_B3HW, self.conv(images_B3HW)


def attention(map_Chw: np.ndarray, beta: float, gamma: float) -> np.ndarray:
    cells_LC = map_Chw.reshape(len(map_Chw), -1).T
    cells_LC = cells_LC / np.linalg.norm(cells_LC, axis=1, keepdims=True)
    similarity_LL = cells_LC @ cells_LC.T
    similarity_LL = (similarity_LL - beta * similarity_LL.mean()) * gamma
    powers_LL = np.where(similarity_LL < 0, 0, np.exp(similarity_LL))
    return powers_LL / powers_LL.sum(axis=1, keepdims=True)


def test_attention_equals_numpy() -> None:
    map_BChw = torch.randn(2, 6, 4, 7) + torch.tensor([0.0, 0.5])[:, None, None, None]
    found_BLL = proxy_attention(map_BChw)
    for found_LL, map_Chw in zip(found_BLL, map_BChw, strict=True):
        expected_LL = attention(map_Chw.double().numpy(), 1.2, 3.0)
        assert 0 < (expected_LL == 0).sum() < expected_LL.size
        np.testing.assert_allclose(found_LL.numpy(), expected_LL, atol=1e-5)


def test_a_picture_of_one_colour_attends_to_itself() -> None:
    assert torch.equal(proxy_attention(torch.ones(1, 3, 2, 2))[0], torch.eye(4))


@pytest.mark.parametrize('size', [(48, 48), (81, 136)])
def test_cells_equal_the_formula(tower_of, size: tuple[int, int]) -> None:
    clip, proxy = tower_of('quickgelu'), FinerTower()
    tower = ProxyTower(clip, proxy, beta=1.1, gamma=2.0)
    images = torch.randn(1, 3, *size)
    std, mean = torch.tensor(clip.std)[:, None, None], torch.tensor(clip.mean)[:, None, None]
    pixels = images * std + mean
    own = (pixels - torch.tensor(proxy.mean)[:, None, None]) / torch.tensor(proxy.std)[:, None, None]
    map_Chw = proxy.conv(own)[0]
    mix_LL = attention(map_Chw.double().numpy(), 1.1, 2.0)
    tokens_BLC, grid = last_block_input(clip.visual, images, 'bicubic')
    block = clip.visual.transformer.resblocks[-1]
    weight, bias = block.attn.in_proj_weight[128:], block.attn.in_proj_bias[128:]
    values_LC = F.layer_norm(tokens_BLC[0, 1:], (64,), block.ln_1.weight, block.ln_1.bias) @ weight.T + bias
    values_Chw = F.interpolate(values_LC.T.unflatten(1, grid)[None], map_Chw.shape[1:], mode='bilinear')[0]
    mixed_LC = torch.from_numpy(mix_LL).float() @ values_Chw.flatten(1).T
    out_LC = mixed_LC @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
    norm = clip.visual.ln_post
    expected_LD = F.layer_norm(out_LC, (64,), norm.weight, norm.bias) @ clip.visual.proj
    dense_BDhw = tower.embed_dense(images)
    assert dense_BDhw.shape[2:] == (size[0] // 8, size[1] // 8)
    torch.testing.assert_close(dense_BDhw[0].flatten(1).T, F.normalize(expected_LD, dim=1), **CLOSE)


def test_whole_pictures_and_settings_are_those_of_clip(tower_of) -> None:
    clip = tower_of('vit')
    tower = ProxyTower(clip, FinerTower())
    images = torch.randn(2, 3, 48, 48)
    assert torch.equal(tower.embed_images(images), clip.embed_images(images))
    assert (tower.embed_dim, tower.mean, tower.std) == (clip.embed_dim, clip.mean, clip.std)
    assert tower.fingerprint == f'{clip.fingerprint}:proxy-finer:beta1.2:gamma3.0'
    assert {name.split('.')[0] for name in tower.state_dict()} == {'tower', 'proxy'}


def test_towers_that_do_not_fit(tower_of) -> None:
    with pytest.raises(ConfigError, match='ImageNetTower has no values to mix'):
        ProxyTower(ImageNetTower(), FinerTower())
    with pytest.raises(ConfigError, match='has no pyramid'):
        ProxyTower(tower_of('vit'), ImageTower())
    for kind in ('resnet', 'custom'):
        with pytest.raises(ConfigError, match='has no values of an attention here'):
            ProxyTower(tower_of(kind), FinerTower()).embed_dense(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize('readout', ['plain', 'value'])
def test_keys_of_transformers(tower_of, readout: str) -> None:
    tower = tower_of('quickgelu', readout=readout)
    images = torch.randn(2, 3, 81, 130)
    dense_BDhw, keys_BChw = DenseBackbone(tower, keys=True)(images)
    assert torch.equal(dense_BDhw, tower.embed_dense(images))
    tokens_BLC, grid = last_block_input(tower.visual, images, 'bicubic')
    block = tower.visual.transformer.resblocks[-1]
    weight, bias = block.attn.in_proj_weight[64:128], block.attn.in_proj_bias[64:128]
    expected_BLC = F.layer_norm(tokens_BLC[:, 1:], (64,), block.ln_1.weight, block.ln_1.bias) @ weight.T + bias
    torch.testing.assert_close(keys_BChw, expected_BLC.transpose(1, 2).unflatten(2, grid), **CLOSE)


def test_keys_of_resnets(tower_of) -> None:
    tower = tower_of('resnet')
    images = torch.randn(2, 3, 70, 100)
    dense_BDhw, keys_BChw = DenseBackbone(tower, keys=True)(images)
    assert torch.equal(dense_BDhw, tower.embed_dense(images))
    project = tower.visual.attnpool.k_proj
    expected_BChw = F.conv2d(tower.pyramid(images)[-1], project.weight[:, :, None, None], project.bias)
    torch.testing.assert_close(keys_BChw, expected_BChw, **CLOSE)


def test_backbone_without_keys_and_tower_without_them() -> None:
    backbone = DenseBackbone(ImageNetTower()).train()
    images = torch.randn(1, 3, 64, 96, requires_grad=True)
    (dense_BDhw,) = backbone(images)
    assert torch.equal(dense_BDhw, ImageNetTower().embed_dense(images))
    assert not dense_BDhw.requires_grad
    assert not any(p.requires_grad for p in backbone.parameters())
    with pytest.raises(ConfigError, match='no keys of an attention'):
        DenseBackbone(ImageNetTower(), keys=True)(images)


def test_backbone_keeps_its_tower_out_of_the_checkpoint() -> None:
    state = DenseBackbone(ImageNetTower()).state_dict()
    assert list(state) == ['tower_sha256']
    DenseBackbone(ImageNetTower()).load_state_dict(state, strict=True)
    other = ImageNetTower()
    other.trunk.bn1.bias.data += 1
    with pytest.raises(CheckpointError, match='other frozen weights'):
        DenseBackbone(other).load_state_dict(state)
    whole = DenseBackbone(ImageNetTower(), in_checkpoint=True).state_dict()
    assert set(whole) == {f'tower.{name}' for name in ImageNetTower().state_dict()}
    DenseBackbone(ImageNetTower()).load_state_dict(whole, strict=True)
