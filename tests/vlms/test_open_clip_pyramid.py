"""Maps of open_clip's towers at any size, and the towers as backbones of mmdet's and mmseg's models."""

import mmdet.models  # noqa: F401  registers them
import mmseg.models  # noqa: F401
import open_clip
import pytest
import torch
import torch.nn.functional as F

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import TowerBackbone
from vlm_dense.vlms.clip_vit import tapped_tokens
from vlm_dense.vlms.positions import resize_positions
from vlm_dense.vlms.taps import default_taps

EQUAL = {'rtol': 0, 'atol': 1e-4}
KINDS = ['vit', 'quickgelu', 'resnet', 'convnext']
STAGES = (4, 8, 16, 32)


def random_images(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('kind', [*KINDS, 'timm', 'coca', 'custom'])
def test_maps_equal_open_clips_intermediates(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    twin = open_clip.create_model(tower._source.name).visual.eval()
    twin.load_state_dict(tower.visual.state_dict())
    images = random_images(tower.input_size, tower.input_size, batch=2)
    with torch.no_grad():
        maps = tower.pyramid(images)
        expected = twin.forward_intermediates(images, indices=4, intermediates_only=True)['image_intermediates']
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **EQUAL)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(121, 195), (195, 121), (32, 130), (160, 33)])
def test_any_size(tower_of, kind: str, size: tuple[int, int]) -> None:
    tower = tower_of(kind)
    with torch.no_grad():
        maps, dense_BDhw = tower.pyramid(random_images(*size)), tower.embed_dense(random_images(*size))
    strides = STAGES if kind in ('resnet', 'convnext') else (16, 16, 16, 16)
    rounded = [side + (kind == 'resnet') for side in size]
    assert [tuple(m.shape[2:]) for m in maps] == [tuple(side // stride for side in rounded) for stride in strides]
    assert dense_BDhw.shape[2:] == maps[-1].shape[2:]
    torch.testing.assert_close(dense_BDhw.norm(dim=1), torch.ones(1, *maps[-1].shape[2:]))


@pytest.mark.parametrize('readout', ['plain', 'value', 'qq+kk', 'qq'])
def test_pixels_beyond_the_last_patch_do_not_count(tower_of, readout: str) -> None:
    tower = tower_of('vit', readout=readout)
    images = random_images(70, 110)
    with torch.no_grad():
        torch.testing.assert_close(tower.embed_dense(images), tower.embed_dense(images[..., :64, :96]), **EQUAL)


@pytest.mark.parametrize('kind', KINDS)
def test_pictures_of_a_batch_do_not_mix(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    images = random_images(97, 64, batch=3)
    with torch.no_grad():
        torch.testing.assert_close(tower.embed_dense(images)[1:2], tower.embed_dense(images[1:2]), **EQUAL)


@pytest.mark.parametrize(('blocks', 'taps'), [(12, (2, 5, 8, 11)), (24, (5, 11, 17, 23)), (2, (0, 0, 1, 1))])
def test_default_taps(blocks: int, taps: tuple[int, ...]) -> None:
    assert default_taps(blocks) == taps


def test_taps_run_no_later_block(tower_of) -> None:
    tower = tower_of('vit', taps=(0, 2))
    images = random_images(64, 96)
    with torch.no_grad():
        ran = []
        tower.visual.transformer.resblocks[2].register_forward_hook(lambda *_: ran.append(2))
        tower.visual.transformer.resblocks[3].register_forward_hook(lambda *_: ran.append(3))
        maps = tower.pyramid(images)
        assert ran == [2]
        tokens, grid = tapped_tokens(tower.visual, images, (0, 2))
    assert grid == (4, 6)
    for map_BChw, tokens_BLC in zip(maps, tokens, strict=True):
        assert torch.equal(map_BChw, tokens_BLC[:, 1:].transpose(1, 2).unflatten(2, grid))
        assert tokens_BLC.shape == (1, 25, 64)


class TestPositions:
    positions_LC = torch.randn(1 + 2 * 3, 5, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
    def test_native_grid_is_untouched(self, interpolation) -> None:
        assert resize_positions(self.positions_LC, (2, 3), (2, 3), interpolation) is self.positions_LC

    def test_doubling_bilinearly(self) -> None:
        resized_LC = resize_positions(self.positions_LC, (2, 3), (4, 6), 'bilinear')
        cells_hwC = self.positions_LC[1:].reshape(2, 3, 5)
        rows, columns = (torch.linspace(-0.25, n - 0.75, 2 * n).clamp(0, n - 1) for n in (2, 3))
        expected = torch.stack([between(cells_hwC, row, column) for row in rows for column in columns])
        torch.testing.assert_close(resized_LC[1:], expected)
        assert torch.equal(resized_LC[0], self.positions_LC[0])

    def test_plain_is_not_antialiased(self) -> None:
        """As transformers resizes them."""
        from transformers import CLIPSegVisionConfig
        from transformers.models.clipseg.modeling_clipseg import CLIPSegVisionEmbeddings

        theirs = CLIPSegVisionEmbeddings(
            CLIPSegVisionConfig(hidden_size=5, num_attention_heads=5, image_size=96, patch_size=16)
        )
        positions_LC = theirs.position_embedding.weight
        for grid in ((9, 4), (3, 5)):
            expected_LC = theirs.interpolate_pos_encoding(
                torch.empty(1, 1 + grid[0] * grid[1], 5), *(16 * g for g in grid)
            )
            found_LC = resize_positions(positions_LC, (6, 6), grid, 'bicubic_plain')
            torch.testing.assert_close(found_LC, expected_LC[0])
            assert not torch.allclose(found_LC, resize_positions(positions_LC, (6, 6), grid, 'bicubic'))

    def test_rows_stay_rows(self) -> None:
        positions_LC = torch.cat([torch.zeros(1, 1), torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])[:, None]])
        resized_hw = resize_positions(positions_LC, (2, 3), (5, 4), 'bicubic')[1:].reshape(5, 4)
        assert (resized_hw.diff(dim=1).abs() < 1e-6).all()
        assert (resized_hw.diff(dim=0)[1:3] > 0).all()

    def test_the_tower_takes_the_choice(self, tower_of) -> None:
        images = random_images(96, 128)
        with torch.no_grad():
            cubic, linear = (tower_of('vit', interpolation=how) for how in ('bicubic', 'bilinear'))
            assert (cubic.embed_dense(images) - linear.embed_dense(images)).abs().max() > 1e-3
            positions = linear.visual.positional_embedding
            grid_1Chw = positions[1:].T.reshape(1, 64, 3, 3)
            larger = open_clip.create_model(linear._source.name, force_image_size=(96, 128)).visual.eval()
            state = linear.visual.state_dict()
            cells = F.interpolate(grid_1Chw, (6, 8), mode='bilinear').flatten(2)[0].T
            larger.load_state_dict({**state, 'positional_embedding': torch.cat([positions[:1], cells])})
            expected = larger.forward_intermediates(images, indices=4, intermediates_only=True)['image_intermediates']
            for ours, theirs in zip(linear.pyramid(images), expected, strict=True):
                torch.testing.assert_close(ours, theirs, **EQUAL)


def between(cells_hwC: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """The bilinear value at a place between four cells."""
    top, left = int(row), int(column)
    bottom, right = min(top + 1, len(cells_hwC) - 1), min(left + 1, cells_hwC.shape[1] - 1)
    down, over = row - top, column - left
    upper = cells_hwC[top, left] * (1 - over) + cells_hwC[top, right] * over
    lower = cells_hwC[bottom, left] * (1 - over) + cells_hwC[bottom, right] * over
    return upper * (1 - down) + lower * down


class TestBackbone:
    def config(self, name: str, **settings: object) -> dict:
        return {
            'type': 'vlm_dense.TowerBackbone',
            'tower': {'type': 'vlm_dense.OpenClipTower', 'name': name},
            **settings,
        }

    @pytest.mark.parametrize('kind', KINDS)
    def test_names_are_open_clips(self, tiny_models, kind: str) -> None:
        backbone = MODELS.build(self.config(tiny_models[kind], in_checkpoint=True))
        theirs = open_clip.create_model(tiny_models[kind]).visual.state_dict()
        ours = {name.removeprefix('tower.visual.'): value.shape for name, value in backbone.state_dict().items()}
        assert ours == {name: value.shape for name, value in theirs.items()}
        assert not any(parameter.requires_grad for parameter in backbone.parameters())

    @pytest.mark.parametrize(('kind', 'channels'), [('resnet', [64, 128, 256, 512]), ('convnext', [24, 32, 48, 64])])
    def test_stages_feed_mmdets_fpn(self, tiny_models, kind: str, channels: list[int]) -> None:
        backbone = MODELS.build(self.config(tiny_models[kind], out_indices=(1, 2, 3), tune='all'))
        neck = MODELS.build({'type': 'mmdet.FPN', 'in_channels': channels[1:], 'out_channels': 8, 'num_outs': 3})
        sum(output.square().mean() for output in neck(backbone.train()(random_images(64, 96, batch=2)))).backward()
        silent = {name for name, p in backbone.tower.visual.named_parameters() if p.grad is None}
        after = ('attnpool.',) if kind == 'resnet' else ('head.', 'trunk.head.')
        assert silent == {name for name, _ in backbone.tower.visual.named_parameters() if name.startswith(after)}

    def test_taps_feed_mmsegs_segmentor(self, tiny_models) -> None:
        backbone = self.config(tiny_models['vit'])
        backbone['tower']['taps'] = (1, 3)
        head = {
            'type': 'mmseg.FCNHead',
            'in_channels': [64, 64],
            'in_index': [0, 1],
            'input_transform': 'resize_concat',
            'channels': 8,
            'num_classes': 3,
            'num_convs': 1,
        }
        segmentor = MODELS.build(
            {
                'type': 'mmseg.EncoderDecoder',
                'backbone': {**backbone, 'out_indices': (0, 1)},
                'decode_head': head,
                'test_cfg': {'mode': 'whole'},
            }
        )
        assert segmentor.eval()(random_images(50, 81), None, mode='tensor').shape == (1, 3, 3, 5)

    def test_a_missing_map_is_named(self, tiny_models) -> None:
        backbone = self.config(tiny_models['vit'])
        backbone['tower']['taps'] = (1, 3)
        with pytest.raises(ConfigError, match='the pyramid has 2 maps'):
            MODELS.build(backbone)(random_images(48, 48))

    def test_frozen_in_train_mode(self, tiny_models) -> None:
        backbone = TowerBackbone({'type': 'vlm_dense.OpenClipTower', 'name': tiny_models['resnet']}).train()
        before = {name: value.clone() for name, value in backbone.tower.state_dict().items()}
        assert not any(m.requires_grad for m in backbone(random_images(64, 64, batch=2)))
        assert all(torch.equal(before[name], value) for name, value in backbone.tower.state_dict().items())
