from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import ImageNetTower, TowerBackbone, TowerTail, tapped_tokens

LITE0 = {'type': 'vlm_dense.ImageNetTower'}


def test_maps_and_names() -> None:
    backbone = MODELS.build({'type': 'vlm_dense.TowerBackbone', 'tower': LITE0, 'out_indices': (1, 3)})
    backbone.init_weights()
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(1, 40, 8, 12), (1, 320, 2, 3)]
    assert set(backbone.state_dict()) == {'tower_sha256'}


def test_weights_survive_init_weights() -> None:
    backbone = TowerBackbone(LITE0)
    backbone.init_weights()
    images = torch.randn(1, 3, 64, 64)
    for ours, expected in zip(backbone(images), ImageNetTower().pyramid(images), strict=True):
        assert torch.equal(ours, expected)


def test_frozen_stays_frozen_in_train_mode() -> None:
    backbone = TowerBackbone(LITE0).train()
    assert backbone.training
    assert not any(module.training for module in backbone.tower.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    before = {name: value.clone() for name, value in backbone.tower.state_dict().items()}
    maps = backbone(torch.randn(2, 3, 64, 64, requires_grad=True))
    assert not any(m.requires_grad for m in maps)
    assert all(torch.equal(before[name], value) for name, value in backbone.tower.state_dict().items())


def test_trainable() -> None:
    backbone = TowerBackbone(LITE0, tune='all').train()
    assert backbone.tower.trunk.bn1.training
    sum(m.square().mean() for m in backbone(torch.randn(2, 3, 64, 64))).backward()
    missing = {name.split('.')[2] for name, p in backbone.named_parameters() if p.grad is None}
    assert missing == {'conv_head', 'bn2'}  # they come after the pyramid


def test_trains_as_part_of_an_mmdet_neck() -> None:
    neck = MODELS.build(
        {'type': 'mmdet.FPN', 'in_channels': [24, 40, 112, 320], 'out_channels': 8, 'num_outs': 5},
    )
    outputs = neck(TowerBackbone(LITE0)(torch.randn(1, 3, 64, 64)))
    sum(output.sum() for output in outputs).backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())


def test_wrong_index() -> None:
    with pytest.raises(ConfigError, match='the pyramid has 4 maps'):
        TowerBackbone(LITE0, out_indices=(4,))(torch.randn(1, 3, 64, 64))


class TestClassTokens:
    def backbone(self, tower: object, **settings: object) -> TowerBackbone:
        return TowerBackbone(tower, out_indices=(0, 1), class_token=True, **settings)

    def test_maps_and_tokens_of_each_tap(self, tower_of) -> None:
        tower, images = tower_of('vit', taps=(1, 3)), torch.randn(2, 3, 48, 64)
        pairs = self.backbone(tower)(images)
        taken, grid = tapped_tokens(tower.visual, images, (1, 3))
        for (map_BChw, token_BC), tokens_BLC, pyramid_BChw in zip(pairs, taken, tower.pyramid(images), strict=True):
            assert torch.equal(token_BC, tokens_BLC[:, 0])
            assert torch.equal(map_BChw, tokens_BLC[:, 1:].transpose(1, 2).unflatten(2, grid))
            assert torch.equal(map_BChw, pyramid_BChw)

    def test_remembered_pictures_keep_their_pairs(self, tower_of) -> None:
        backbone = self.backbone(tower_of('vit', taps=(1, 3)), memory_bytes=10**7).train()
        images = torch.randn(2, 3, 48, 48)
        first, again = backbone(images), backbone(images)
        assert [len(pair) for pair in again] == [2, 2]
        for pair, other in zip(first, again, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(pair, other, strict=True))

    def test_feed_a_head_for_mmsegs_transformer(self, tower_of) -> None:
        head = MODELS.build(
            {
                'type': 'vlm_dense.DPTPixelHead',
                'in_channels': 64,
                'embed_dim': 8,
                'reassemble_channels': (8, 8, 8, 8),
                'channels': 8,
                'classifier': {'type': 'vlm_dense.EmbeddingClassifier', 'embed_dim': 8, 'temperature': 0.07},
            }
        )
        backbone = TowerBackbone(tower_of('vit'), class_token=True)
        assert head.embed(backbone(torch.randn(2, 3, 64, 64))).dense_BDhw.shape == (2, 8, 32, 32)

    def test_towers_without_tokens(self, tower_of) -> None:
        with pytest.raises(ConfigError, match='ImageNetTower has no class tokens'):
            self.backbone(LITE0)
        with pytest.raises(ConfigError, match='has no class token'):
            self.backbone(tower_of('resnet'))(torch.randn(1, 3, 64, 64))


class TestTail:
    def test_continues_the_backbone(self) -> None:
        tail = MODELS.build({'type': 'vlm_dense.TowerTail', 'tower': LITE0})
        images = torch.randn(1, 3, 64, 64)
        tower = ImageNetTower()
        torch.testing.assert_close(tail(tower.pyramid(images)[-1]), tower.features(images))
        assert tail.out_channels == 1280
        assert len(tail.layers.state_dict()) == 6  # one convolution and one norm, nothing else of the tower

    def test_frozen_but_lets_gradients_through(self) -> None:
        tail = TowerTail(LITE0).train()
        assert not any(module.training for module in tail.layers.modules())
        region_NChw = ImageNetTower().pyramid(torch.randn(2, 3, 96, 96))[-1].detach().requires_grad_()
        tail(region_NChw).sum().backward()
        assert region_NChw.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in tail.parameters())

    def test_trainable(self) -> None:
        tail = TowerTail(LITE0, tune='all').train()
        assert all(module.training for module in tail.layers.modules())
        tail(torch.rand(2, 320, 3, 3)).square().mean().backward()
        assert all(parameter.grad is not None for parameter in tail.parameters())

    def test_centered(self, tmp_path: Path, tiny_models) -> None:
        centers = {name: torch.rand(1280) for name in ('crop', 'map16', 'map32')}
        save_file(centers, str(tmp_path / 'center.safetensors'))
        tower = {**LITE0, 'center': str(tmp_path / 'center.safetensors'), 'output_stride': 16}
        region_NChw = torch.rand(2, 320, 3, 3)
        difference = TowerTail(tower)(region_NChw) - TowerTail(tower, centered=True)(region_NChw)
        torch.testing.assert_close(difference, centers['map16'][None, :, None, None].expand_as(difference))
        with pytest.raises(ConfigError, match='has no tail after its pyramid here'):
            TowerTail({'type': 'vlm_dense.OpenClipTower', 'name': tiny_models['vit']})
