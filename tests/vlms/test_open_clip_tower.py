import open_clip
import pytest
import torch
import torch.nn.functional as F

from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.vlms import OpenClipTower
from vlm_dense.vlms.clip_resnet import resnet_cells


@pytest.fixture
def vit(tiny_models) -> tuple[OpenClipTower, torch.nn.Module]:
    return pair(tiny_models['vit'])


def pair(name: str) -> tuple[OpenClipTower, torch.nn.Module]:
    """The tower, and open_clip's own model with the same weights."""
    tower = OpenClipTower(name)
    model = open_clip.create_model(name).eval()
    model.visual.load_state_dict(tower.visual.state_dict())
    return tower, model


@pytest.mark.parametrize('kind', ['vit', 'resnet', 'timm', 'timmvit', 'averaging', 'eva', 'siglip'])
def test_whole_pictures_equal_encode_image(tiny_models, kind: str) -> None:
    tower, model = pair(tiny_models[kind])
    images = torch.randn(2, 3, tower.input_size, tower.input_size)
    with torch.no_grad():
        expected = model.encode_image(images, normalize=True)
        torch.testing.assert_close(tower.embed_images(images), expected)
    assert expected.shape == (2, tower.embed_dim)


def test_transformer_cells_equal_projected_last_tokens(vit) -> None:
    tower, model = vit
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        out = model.visual.forward_intermediates(images, indices=1, normalize_intermediates=True)
        tokens_BChw = out['image_intermediates'][-1]
        expected = torch.einsum('bchw,cd->bdhw', tokens_BChw, model.visual.proj)
        dense_BDhw = tower.embed_dense(images)
    assert dense_BDhw.shape == (2, 32, 3, 3)
    torch.testing.assert_close(dense_BDhw, F.normalize(expected, dim=1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('size', [64, 32])
def test_other_sizes_equal_a_model_made_for_that_size(vit, size: int) -> None:
    tower, model = vit
    other = open_clip.create_model(tower._source.name, force_image_size=size).eval()
    state = model.state_dict()
    open_clip.model.resize_pos_embed(state, other)
    other.load_state_dict(state)
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        out = other.visual.forward_intermediates(images, indices=1, normalize_intermediates=True)
        expected = torch.einsum('bchw,cd->bdhw', out['image_intermediates'][-1], other.visual.proj)
        torch.testing.assert_close(tower.embed_dense(images), F.normalize(expected, dim=1), atol=1e-5, rtol=1e-5)


def test_any_rectangle(vit) -> None:
    tower, _ = vit
    with torch.no_grad():
        dense_BDhw = tower.embed_dense(torch.randn(1, 3, 70, 33))
    assert dense_BDhw.shape == (1, 32, 4, 2)
    torch.testing.assert_close(dense_BDhw.norm(dim=1), torch.ones(1, 4, 2))


def test_resnet_cells_average_to_the_pooled_vector_where_attention_is_uniform(tiny_models) -> None:
    tower, model = pair(tiny_models['resnet'])
    pool = model.visual.attnpool
    with torch.no_grad():
        for parameter in (pool.k_proj.weight, pool.k_proj.bias, pool.positional_embedding):
            parameter.zero_()
        images = torch.randn(2, 3, 64, 64)
        pooled_BD = model.visual(images)
        cells_BDhw = resnet_cells(tower.visual, images, 'value', 'bicubic')  # the keys play no part
        torch.testing.assert_close(cells_BDhw.mean(dim=(2, 3)), pooled_BD, atol=1e-5, rtol=1e-4)
        dense_BDhw = tower.embed_dense(torch.randn(1, 3, 96, 64))
    assert dense_BDhw.shape == (1, 32, 3, 2)
    torch.testing.assert_close(dense_BDhw.norm(dim=1), torch.ones(1, 3, 2))


def test_describes_itself(vit) -> None:
    tower, _ = vit
    assert tower.input_size == 48
    assert tower.mean == pytest.approx((122.7709, 116.7460, 104.0937), abs=1e-3)
    assert tower.std == pytest.approx((68.5005, 66.6322, 70.3232), abs=1e-3)
    assert tower.fingerprint == OpenClipTower(tower._source.name).fingerprint
    assert not any('transformer.resblocks' in name and 'visual' not in name for name in tower.state_dict())


def test_shares_its_space_with_the_text_half(tiny_models) -> None:
    from vlm_dense.text import OpenClipTextEncoder

    name = tiny_models['vit']
    assert OpenClipTower(name).fingerprint == OpenClipTextEncoder(name).fingerprint


def test_limits_are_named(tiny_models, vit) -> None:
    tower, _ = vit
    for kind in ('maximum', 'rotating', 'coca', 'swin'):
        other = OpenClipTower(tiny_models[kind])
        with pytest.raises(ConfigError, match=f"'{tiny_models[kind]}' has no dense read-out here"):
            other.embed_dense(torch.randn(1, 3, 64, 64))
    for kind in ('rotating', 'swin'):
        with pytest.raises(ConfigError, match='64 x 64 pixels, not 96 x 64'):
            OpenClipTower(tiny_models[kind]).embed_images(torch.randn(1, 3, 96, 64))
    with pytest.raises(ConfigError, match='has no pyramid of maps here'):
        OpenClipTower(tiny_models['swin']).pyramid(torch.randn(1, 3, 64, 64))
    for kind in ('resnet', 'averaging'):
        with pytest.raises(ConfigError, match=f"'{tiny_models[kind]}' has no class token"):
            OpenClipTower(tiny_models[kind]).class_token_pyramid(torch.randn(1, 3, 64, 64))
    with pytest.raises(ConfigError, match='has no tail after its pyramid here'):
        tower.tail()
    with pytest.raises(MissingFileError, match='not on this machine'):
        OpenClipTower('ViT-B-32', 'laion2b_s34b_b79k')


@pytest.mark.parametrize(
    ('kind', 'settings', 'message'),
    [
        ('vit', {'readout': 'kk'}, "has 'plain' and 'value' and 'qq\\+kk' and 'qq'"),
        ('resnet', {'readout': 'qq'}, "-resnet' has 'plain' and 'value'"),
        ('convnext', {'readout': 'value'}, "-convnext' has 'plain'"),
        ('custom', {'readout': 'value'}, "other attention. Use readout='plain'"),
        ('vit', {'interpolation': 'nearest'}, 'write one of bicubic, bilinear, bicubic_plain'),
        ('vit', {'taps': (1, 4)}, 'block numbers from 0 to 3'),
        ('vit', {'taps': (2, 1)}, 'ascending'),
        ('vit', {'taps': ()}, 'block numbers'),
        ('resnet', {'taps': (1,)}, 'has no blocks to tap'),
        ('eva', {'taps': (4,)}, 'block numbers from 0 to 3'),
        ('eva', {'readout': 'value'}, "-eva' has 'plain'"),
        ('siglip', {'readout': 'plain'}, "-siglip' has 'value'"),
    ],
)
def test_wrong_settings(tiny_models, kind: str, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OpenClipTower(tiny_models[kind], **settings)


def test_settings_are_part_of_the_fingerprint(tiny_models) -> None:
    settings: list[dict] = [{}, {'readout': 'qq'}, {'interpolation': 'bilinear'}, {'taps': (1, 2)}]
    assert len({OpenClipTower(tiny_models['vit'], **setting).fingerprint for setting in settings}) == 4
    usual = OpenClipTower(tiny_models['resnet']).fingerprint
    assert OpenClipTower(tiny_models['resnet'], readout='value').fingerprint == usual


@pytest.mark.parametrize(('kind', 'side'), [('vit', 15), ('resnet', 30), ('convnext', 31), ('eva', 15)])
def test_smaller_than_one_cell(tiny_models, kind: str, side: int) -> None:
    tower = OpenClipTower(tiny_models[kind]).eval()
    for read in (tower.embed_dense, tower.pyramid, tower.embed_images):
        with pytest.raises(ConfigError, match=f'pictures of {side} x 64 pixels hold no'):
            read(torch.randn(1, 3, side, 64))
        with torch.no_grad():
            read(torch.randn(1, 3, side + 1, 64))
