"""How readers save work, against the models' own forward passes; and that they hold no model."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.vlms import OpenClipTower, add_prompts
from vlm_dense.vlms.clip_vit import start_tokens

CLOSE = {'rtol': 0, 'atol': 1e-5}
SIZES = [(48, 48), (80, 32)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def by_all_tokens(visual: Any, images: Tensor) -> Tensor:
    """open_clip's steps, with positions of another size."""
    if images.shape[2:] == visual.image_size:
        return F.normalize(visual(images), dim=-1)
    tokens_BLC = visual.transformer(start_tokens(visual, images, 'bicubic')[0])
    return F.normalize(visual._pool(tokens_BLC)[0] @ visual.proj, dim=-1)


def tokens_that_ask(tower: OpenClipTower, images: Tensor) -> int:
    """How many tokens go through the feed-forward part of the last block."""
    seen: list[int] = []
    hook = tower.blocks[-1].mlp.register_forward_hook(lambda _, args, out: seen.append(args[0].shape[1]))
    with torch.no_grad():
        tower.embed_images(images)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize('kind', ['vit', 'quickgelu', 'scaled'])
@pytest.mark.parametrize('size', SIZES)
def test_only_the_class_token_asks_in_the_last_block(tower_of, kind: str, size: tuple[int, int]) -> None:
    tower, images = tower_of(kind), torch.randn(2, 3, *size)
    assert tokens_that_ask(tower, images) == 1
    other = deepcopy(tower.visual)
    ours, expected = tower.embed_images(images), by_all_tokens(other, images)
    torch.testing.assert_close(ours, expected, **CLOSE)
    direction_BD = torch.randn_like(ours)
    for rows_BD in (ours, expected):
        (rows_BD * direction_BD).sum().backward()
    for (name, parameter), own in zip(tower.visual.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, own.grad, rtol=1e-4, atol=1e-4, msg=name)


def test_final_norm_after_pooling_and_half_precision(tower_of) -> None:
    tower, images = tower_of('vit'), torch.randn(2, 3, 48, 48)
    tower.visual.final_ln_after_pool = True
    with torch.no_grad():
        torch.testing.assert_close(tower.embed_images(images), by_all_tokens(tower.visual, images), **CLOSE)
        tower, images = tower.to(torch.bfloat16), images.to(torch.bfloat16)
        assert tower.embed_images(images).dtype == torch.bfloat16
        expected = by_all_tokens(tower.visual, images)
        torch.testing.assert_close(tower.embed_images(images), expected, rtol=0, atol=2e-2)


def _hooked(find: Callable[[Any], nn.Module]) -> Callable[[OpenClipTower], object]:
    return lambda tower: find(tower.visual).register_forward_pre_hook(lambda module, args: None)


FULL = {
    'prompts': lambda tower: add_prompts(tower, tokens=2),
    'hook of the block': lambda tower: tower.blocks[-1].register_forward_hook(lambda module, args, out: 1.1 * out),
    'hook of the attention': _hooked(lambda visual: visual.transformer.resblocks[-1].attn),
    'hook of the transformer': _hooked(lambda visual: visual.transformer),
    'hook of the model': _hooked(lambda visual: visual),
    'average': lambda tower: setattr(tower.visual, 'pool_type', 'avg'),
    'checkpointing': lambda tower: tower.visual.set_grad_checkpointing(),
    'dropped patches': lambda tower: setattr(tower.visual, 'patch_dropout', nn.Dropout(0.5).eval()),
}


@pytest.mark.parametrize('change', FULL)
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.filterwarnings('ignore:None of the inputs have requires_grad')
def test_all_tokens_ask_where_more_is_read(tower_of, change: str, size: tuple[int, int]) -> None:
    tower, images = tower_of('vit'), torch.randn(2, 3, *size)
    FULL[change](tower)
    assert tokens_that_ask(tower, images) == 1 + size[0] * size[1] // 256 + 2 * (change == 'prompts')
    with torch.no_grad():
        torch.testing.assert_close(tower.embed_images(images), by_all_tokens(tower.visual, images), **CLOSE)


@pytest.mark.parametrize('kind', ['coca', 'custom'])
def test_other_attention_and_pooling_run_whole(tower_of, kind: str) -> None:
    tower, images = tower_of(kind), torch.randn(2, 3, 48, 48)
    assert tokens_that_ask(tower, images) == 10
    with torch.no_grad():
        torch.testing.assert_close(tower.embed_images(images), by_all_tokens(tower.visual, images), **CLOSE)


@pytest.mark.parametrize('size', [(64, 64), (96, 70)])
def test_resnets_run_with_channels_last(tower_of, size: tuple[int, int]) -> None:
    tower, images = tower_of('resnet'), torch.randn(2, 3, *size)
    layouts: list[bool] = []
    with torch.no_grad():
        out = tower.visual.forward_intermediates(images, intermediates_only=True)['image_intermediates']
        whole = F.normalize(tower.visual(images), dim=-1) if size == (64, 64) else None
        tower.visual.conv1.register_forward_pre_hook(
            lambda module, args: layouts.append(args[0].is_contiguous(memory_format=torch.channels_last))
        )
        for ours, expected in zip(tower.pyramid(images), out[1:], strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
        picture_BD = tower.embed_images(images)
    if whole is not None:
        torch.testing.assert_close(picture_BD, whole, rtol=0, atol=1e-6)
    assert layouts == [True, True]


@pytest.mark.parametrize('kind', ['vit', 'resnet', 'eva', 'convnext', 'swin'])
def test_a_copy_reads_its_own_model(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    images = torch.randn(1, 3, tower.input_size, tower.input_size)
    other = deepcopy(tower)
    assert all(name.startswith('visual.') for name in tower.state_dict())
    with torch.no_grad():
        before = tower.embed_images(images)
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        assert torch.equal(tower.embed_images(images), before)
        assert not torch.allclose(other.embed_images(images), before, atol=1e-3)
        assert other.double().embed_images(images.double()).dtype == torch.float64
