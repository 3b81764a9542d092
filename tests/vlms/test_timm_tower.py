"""Trunks of timm as towers, against timm's own intermediates; as backbones; and wrong settings and files."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlm_dense.errors import CheckpointError, ConfigError, MissingFileError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import FrozenTower, ImageNetTower, OpenClipTower, TimmTower, TowerBackbone

CLOSE = {'rtol': 0, 'atol': 1e-4}
VIT = 'test_vit'  # 160 pixels, patch 16, 6 blocks, width 64, with a class token
CONVOLUTIONS = ['test_convnext', 'test_resnet', 'test_efficientnet']


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def weights_file(folder: Path, name: str, **settings: object) -> tuple[Path, nn.Module]:
    """A checkpoint with a classifier, and the network that it belongs to."""
    network = timm.create_model(name, **settings).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = folder / f'{name}.safetensors'
    save_file(network.state_dict(), path)
    return path, network


@pytest.mark.parametrize('size', [(160, 160), (96, 224), (33, 50)])
@pytest.mark.parametrize('name', [VIT, 'test_vit2', 'test_vit3'])
def test_taps_equal_timms(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    path, network = weights_file(tmp_path, name)
    tower = TimmTower(name, str(path), taps=(0, 3, 4))
    images = torch.randn(2, 3, *size)
    whole = images[..., : size[0] // 16 * 16, : size[1] // 16 * 16]
    network.set_input_size(whole.shape[2:])
    with torch.no_grad():
        expected = network.forward_intermediates(whole, [0, 3, 4], return_prefix_tokens=True, intermediates_only=True)
        for map_BChw, (their_BChw, _) in zip(tower.pyramid(images), expected, strict=True):
            torch.testing.assert_close(map_BChw, their_BChw, **CLOSE)
        if name == VIT:
            for (map_BChw, token_BC), (their_BChw, prefix_BPC) in zip(
                tower.class_token_pyramid(images), expected, strict=True
            ):
                torch.testing.assert_close(map_BChw, their_BChw, **CLOSE)
                torch.testing.assert_close(token_BC, prefix_BPC[:, 0], **CLOSE)


@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_stages_equal_timms(tmp_path: Path, name: str) -> None:
    path, network = weights_file(tmp_path, name)
    tower = TimmTower(name, str(path))
    images = torch.randn(2, 3, 97, 130)
    with torch.no_grad():
        expected = network.forward_intermediates(images, intermediates_only=True)
        maps = tower.pyramid(images)
    strides = [4, 8, 16, 32]
    by_stride = {info['reduction']: map_BChw for info, map_BChw in zip(network.feature_info, expected, strict=True)}
    assert len(maps) == 4
    for stride, map_BChw in zip(strides, maps, strict=True):
        torch.testing.assert_close(map_BChw, by_stride[stride], **CLOSE)


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_both_kinds_of_file(tmp_path: Path, ending: str) -> None:
    network = timm.create_model(VIT)
    path = tmp_path / f'weights.{ending}'
    save_file(network.state_dict(), path) if ending == 'safetensors' else torch.save(network.state_dict(), path)
    tower = TimmTower(VIT, str(path))
    assert torch.equal(tower.trunk.blocks[5].mlp.fc1.weight, network.blocks[5].mlp.fc1.weight)
    assert tower.fingerprint == TimmTower(VIT, str(path)).fingerprint != TimmTower(VIT).fingerprint


def test_random_weights_are_the_same_and_leave_the_generator_alone() -> None:
    first = torch.random.get_rng_state()
    one, other = TimmTower(VIT), TimmTower(VIT)
    assert torch.equal(first, torch.random.get_rng_state())
    assert one.fingerprint == other.fingerprint
    settings: list[dict] = [{}, {'taps': (1, 2)}, {'interpolation': 'bilinear'}, {'interpolation': 'bicubic_plain'}]
    assert len({TimmTower(VIT, **setting).fingerprint for setting in settings}) == len(settings)


def test_describes_itself() -> None:
    tower = TimmTower('vit_tiny_patch16_224.augreg_in21k', taps=(2, 5, 8, 11))
    assert (tower.mean, tower.std, tower.input_size) == ((127.5,) * 3, (127.5,) * 3, 224)
    tower = TimmTower('resnet18')
    assert tower.mean == pytest.approx((123.675, 116.28, 103.53))
    assert tower.std == pytest.approx((58.395, 57.12, 57.375))
    assert tower.input_size == 224
    for ask in (tower.embed_images, tower.embed_dense):
        with pytest.raises(ConfigError, match='TimmTower has no'):
            ask(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize('name', [VIT, *CONVOLUTIONS])
def test_all_that_is_kept_learns(name: str) -> None:
    settings, indices = ({'taps': (1, 4)}, (0, 1)) if name == VIT else ({}, (0, 1, 2, 3))
    tower = {'type': 'vlm_dense.TimmTower', 'name': name, **settings}
    backbone = MODELS.build({'type': 'vlm_dense.TowerBackbone', 'tower': tower, 'tune': 'all', 'out_indices': indices})
    sum(m.square().mean() for m in backbone.train()(torch.randn(2, 3, 64, 96))).backward()
    assert [key for key, parameter in backbone.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ('name', 'settings', 'message'),
    [
        ('vit_tiny_patch16_242', {}, "did you mean 'vit_tiny_patch16_224'"),
        ('vit_base_patch8_224.dinno', {}, "did you mean 'vit_base_patch8_224.dino'"),
        ('vlm_dense_tiny_swin', {}, 'no maps of pictures of any size'),
        (VIT, {'taps': (1, 6)}, 'taps=\\(1, 6\\) of TimmTower: write block numbers from 0 to 5'),
        ('test_convnext', {'taps': (1,)}, 'has no blocks to tap'),
        (VIT, {'interpolation': 'nearest'}, "write 'bicubic' or 'bilinear'"),
    ],
)
def test_wrong_settings(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TimmTower(name, **settings)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r'nowhere\.pth'):
        TimmTower(VIT, 'nowhere.pth')
    path, network = weights_file(tmp_path, VIT)
    with pytest.raises(CheckpointError, match="timm's 'test_vit2'"):
        TimmTower('test_vit2', str(path))
    for change in ({'blocks.0.more': torch.zeros(1)}, {'pos_embed': torch.zeros(1, 5, 64)}):
        torch.save({**network.state_dict(), **change}, tmp_path / 'other.pth')
        with pytest.raises(CheckpointError, match='does not load as weights'):
            TimmTower(VIT, str(tmp_path / 'other.pth'))


def test_smaller_than_one_cell() -> None:
    for name, side in ((VIT, 15), ('test_convnext', 31)):
        with pytest.raises(ConfigError, match=f'pictures of {side} x 64 pixels hold no'):
            TimmTower(name).pyramid(torch.zeros(1, 3, side, 64))


class TestClassTokens:
    images = torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))

    def expected(self, tower: TimmTower | OpenClipTower) -> list[tuple[Tensor, Tensor]]:
        with torch.no_grad():
            return [tower.class_token_pyramid(self.images)[index] for index in (1, 3)]

    @pytest.mark.parametrize('tune', ['none', 'all'])
    @pytest.mark.parametrize('training', [True, False])
    def test_pairs(self, tower_of, tune: str, training: bool) -> None:
        for tower in (TimmTower(VIT), tower_of('vit'), tower_of('eva')):
            memory = 2**20 if tune == 'none' else 0
            backbone = TowerBackbone(tower, (1, 3), tune=tune, memory_bytes=memory, class_token=True)
            backbone.train(training)
            for _ in range(2):
                found = backbone(self.images)
                for pair, expected in zip(found, self.expected(tower), strict=True):
                    torch.testing.assert_close(pair, expected, **CLOSE)
                assert found[0][0].requires_grad is (tune == 'all')

    def test_are_mmsegs_form(self) -> None:
        widths = {'in_channels': (64,) * 4, 'embed_dims': 64, 'post_process_channels': [8] * 4, 'channels': 8}
        maps = {'in_index': (0, 1, 2, 3), 'input_transform': 'multiple_select'}
        head = MODELS.build({'type': 'mmseg.DPTHead', **widths, **maps, 'num_classes': 3, 'norm_cfg': {'type': 'BN'}})
        assert head.eval()(TowerBackbone(TimmTower(VIT), class_token=True)(self.images)).shape[:2] == (3, 3)

    def test_towers_without_them(self) -> None:
        with pytest.raises(ConfigError, match='ImageNetTower has no class tokens'):
            TowerBackbone(ImageNetTower(), class_token=True)
        for name in ('test_vit2', 'test_convnext'):
            with pytest.raises(ConfigError, match=f"timm's '{name}' has no class token"):
                TowerBackbone(TimmTower(name), class_token=True)(self.images)

    def test_frozen_tower_hands_them_on(self) -> None:
        tower = TimmTower(VIT)
        found = FrozenTower(tower).class_token_pyramid(self.images)
        assert not found[0][1].requires_grad
        torch.testing.assert_close(found[3], tower.class_token_pyramid(self.images)[3], **CLOSE)
