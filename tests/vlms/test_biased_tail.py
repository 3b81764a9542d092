"""Copies of the class token: mmseg's own SAN head, torch's attention with an explicit mask, the plain tower."""

import pytest
import torch
import torch.nn.functional as F

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import BiasedTail, ImageNetTower, OpenClipTower

CLOSE = {'rtol': 0, 'atol': 1e-4}
HEADS, WIDTH, AFTER = 4, 64, 1


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def after_block(tower: OpenClipTower, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    tower.taps = (AFTER,)
    return tower.class_token_pyramid(images)[0]


def test_equals_mmsegs_san(tower_of) -> None:
    from mmseg.models.decode_heads.san_head import RecWithAttnbias

    tower = tower_of('vit')
    tail = BiasedTail(tower, AFTER)
    theirs = RecWithAttnbias(
        sos_token_num=7, num_layers=len(tail.blocks), embed_dims=WIDTH, num_heads=HEADS, out_dims=32
    ).eval()
    for layer, block in zip(theirs.layers, tail.blocks, strict=True):
        layer.attentions[0].attn.load_state_dict(block.attn.state_dict())
        layer.norms[0].load_state_dict(block.ln_1.state_dict())
        layer.norms[1].load_state_dict(block.ln_2.state_dict())
        layer.ffns[0].layers[0][0].load_state_dict(block.mlp.c_fc.state_dict())
        layer.ffns[0].layers[1].load_state_dict(block.mlp.c_proj.state_dict())
    theirs.ln_post.load_state_dict(tail.ln_post.state_dict())
    theirs.proj.weight.copy_(tail.proj.T)
    map_BChw, token_BC = after_block(tower, torch.randn(2, 3, 64, 96))
    for heads, size in ((HEADS, (4, 6)), (1, (4, 6)), (HEADS, (8, 13))):
        bias = 3 * torch.randn(2, heads, 7, *size)
        found_BND = tail(map_BChw, token_BC, bias)
        torch.testing.assert_close(found_BND, theirs([bias], [map_BChw, token_BC]), **CLOSE)
        assert (found_BND[:, :1] - found_BND[:, 1:]).abs().amax() > 0.01


@pytest.mark.parametrize('kind', ['scaled', 'quickgelu'])
def test_equals_open_clips_blocks_under_an_explicit_mask(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    map_BChw, token_BC = after_block(tower, torch.randn(2, 3, 48, 80))
    copies, cells = 3, map_BChw.shape[2] * map_BChw.shape[3]
    bias = torch.randn(2, HEADS, copies, *map_BChw.shape[2:])
    bias[:, :, 0, 0, 0] = -torch.inf
    patches_BLC = map_BChw.flatten(2).transpose(1, 2)
    tokens = torch.cat([token_BC[:, None].expand(-1, copies + 1, -1), patches_BLC], dim=1)
    mask = torch.zeros(2, HEADS, copies + 1 + cells, copies + 1 + cells)
    mask[..., :copies] = -torch.inf
    mask[..., range(copies), range(copies)] = 0
    mask[..., :copies, copies] = -torch.inf
    mask[..., :copies, copies + 1 :] = bias.flatten(3)
    for block in tower.visual.transformer.resblocks[AFTER + 1 :]:
        tokens = block(tokens, attn_mask=mask.flatten(0, 1))
    expected = F.normalize(tower.visual.ln_post(tokens[:, :copies]) @ tower.visual.proj, dim=-1)
    torch.testing.assert_close(BiasedTail(tower, AFTER)(map_BChw, token_BC, bias), expected, **CLOSE)


@pytest.mark.parametrize('kind', ['vit', 'scaled'])
def test_without_bias_copies_are_the_picture(tower_of, kind: str) -> None:
    """A copy sees itself and the patches as the class token does."""
    tower = tower_of(kind)
    images = torch.randn(2, 3, 48, 48)
    map_BChw, token_BC = after_block(tower, images)
    found_BND = BiasedTail(tower, AFTER)(map_BChw, token_BC, torch.zeros(2, 1, 5, 3, 3))
    torch.testing.assert_close(found_BND, tower.embed_images(images)[:, None].expand(2, 5, 32), **CLOSE)


def test_copies_do_not_see_each_other_nor_patches_that_are_hidden(tower_of) -> None:
    tower = tower_of('vit')
    tail = BiasedTail(tower, 2)  # in the one block that is left patches do not mix
    map_BChw, token_BC = torch.randn(1, WIDTH, 3, 4), torch.randn(1, WIDTH)
    bias = torch.randn(1, HEADS, 4, 3, 4)
    together = tail(map_BChw, token_BC, bias)
    for number in range(4):
        alone = tail(map_BChw, token_BC, bias[:, :, number : number + 1])
        torch.testing.assert_close(together[:, number : number + 1], alone, rtol=0, atol=1e-6)
    bias[:, :, 0, 0] = -torch.inf
    changed = map_BChw.clone()
    changed[:, :, 0] *= -1
    before, after = tail(map_BChw, token_BC, bias), tail(changed, token_BC, bias)
    assert torch.equal(before[:, 0], after[:, 0])
    assert (before[:, 1] - after[:, 1]).abs().max() > 1e-3


def test_no_copies_and_gradients(tower_of, tiny_models) -> None:
    config = {'type': 'vlm_dense.OpenClipTower', 'name': tiny_models['vit']}
    tail = MODELS.build({'type': 'vlm_dense.BiasedTail', 'tower': config, 'after': AFTER}).train()
    assert not tail.training
    map_BChw, token_BC = torch.randn(2, WIDTH, 3, 3), torch.randn(2, WIDTH)
    assert tail(map_BChw, token_BC, torch.zeros(2, 1, 0, 3, 3)).shape == (2, 0, 32)
    with torch.enable_grad():
        bias = torch.zeros(2, HEADS, 3, 6, 6, requires_grad=True)
        tail(map_BChw, token_BC, bias)[..., 0].sum().backward()
    assert bias.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in tail.parameters())
    assert len(tail.blocks) == 2


def test_limits_are_named(tower_of, tiny_models) -> None:
    for kind in ('custom', 'coca', 'timmvit', 'resnet'):
        with pytest.raises(ConfigError, match='is no plain vision transformer here'):
            BiasedTail(tower_of(kind), 0)
    with pytest.raises(ConfigError, match='ImageNetTower is no plain'):
        BiasedTail(ImageNetTower())
    with pytest.raises(ConfigError, match='write a block from 0 to 2'):
        BiasedTail(OpenClipTower(tiny_models['vit']), 3)
    tail = BiasedTail(OpenClipTower(tiny_models['vit']), 1)
    for shape in ((1, 1, 2, 3, 3), (2, 3, 2, 3, 3), (2, 2, 3, 3)):
        with pytest.raises(DataError, match='1 or 4 heads, masks, height, width'):
            tail(torch.zeros(2, WIDTH, 3, 3), torch.zeros(2, WIDTH), torch.zeros(shape))
