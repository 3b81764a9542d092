"""Deep prompts against attention written out, adapters against their formula; every read-out, and merging."""

import copy

import pytest
import torch
import torch.nn.functional as F
from timm.layers import apply_rot_embed_cat
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.vlms import ImageTower, LowRank, TimmTower, TowerBackbone, add_adapters, add_prompts, merge, tune
from vlm_dense.vlms.clip_vit import start_tokens

CLOSE = {'rtol': 0, 'atol': 1e-5}
LAYERS = ('query', 'key', 'value', 'out', 'mlp')
TRANSFORMERS = ['vit', 'timmvit', 'eva', 'siglip']


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def readouts(tower: ImageTower, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [tower.embed_images(images), tower.embed_dense(images), *tower.pyramid(images)]


def shaken(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))


def attend(block: nn.Module, tokens_BLC: Tensor) -> Tensor:
    """One block of CLIP's, from the formulas of the transformer."""
    y = F.layer_norm(tokens_BLC, tokens_BLC.shape[-1:], block.ln_1.weight, block.ln_1.bias)
    q, k, v = F.linear(y, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
    q, k, v = (x.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    mixed = ((q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5).softmax(-1) @ v
    tokens_BLC = tokens_BLC + block.attn.out_proj(mixed.transpose(1, 2).flatten(2))
    return tokens_BLC + block.mlp(F.layer_norm(tokens_BLC, y.shape[-1:], block.ln_2.weight, block.ln_2.bias))


@pytest.mark.parametrize('depth', [None, 2])
def test_prompts_equal_the_papers_blocks(tower_of, depth: int | None) -> None:
    """Equations 5 and 6 of VPT: [x, _, E] of each block from [x, P, E], with what the prompts become left out."""
    tower, images = tower_of('vit', taps=(0, 1, 2, 3)), torch.randn(2, 3, 48, 80)
    plain = copy.deepcopy(tower)
    prompts = add_prompts(tower, tokens=3, blocks=depth)
    shaken(prompts)
    with torch.no_grad():
        tokens_BLC, grid = start_tokens(plain.visual, images, 'bicubic')
        pairs = tower.class_token_pyramid(images)
        for number, (block, (map_BChw, token_BC)) in enumerate(zip(plain.blocks, pairs, strict=True)):
            count = 3 if depth is None or number < depth else 0
            extra = prompts.tokens_NPC[number : number + 1].expand(2, -1, -1) if count else tokens_BLC[:, :0]
            wide = attend(block, torch.cat([tokens_BLC[:, :1], extra, tokens_BLC[:, 1:]], dim=1))
            tokens_BLC = torch.cat([wide[:, :1], wide[:, 1 + count :]], dim=1)
            torch.testing.assert_close(token_BC, tokens_BLC[:, 0], **CLOSE)
            torch.testing.assert_close(map_BChw, tokens_BLC[:, 1:].transpose(1, 2).unflatten(2, grid), **CLOSE)


@pytest.mark.parametrize('kind', TRANSFORMERS)
def test_every_readout_sees_prompts_and_keeps_its_shape(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    sizes = [(tower.input_size, tower.input_size), (64, 112)]
    plain = [[x.shape for x in readouts(tower, torch.zeros(1, 3, *size))] for size in sizes]
    prompts = add_prompts(tower, tokens=5, projected=True, dropout=0.1)
    for size, shapes in zip(sizes, plain, strict=True):
        images = torch.randn(1, 3, *size)
        before = readouts(tower, images)
        assert [x.shape for x in before] == shapes
        tokens = prompts.tokens_NPC.detach().clone()
        shaken(prompts)
        assert not any(torch.equal(a, b) for a, b in zip(before, readouts(tower, images), strict=True))
        prompts.tokens_NPC.data.copy_(tokens)


def test_rotary_attention_turns_cells_and_not_prompts(tower_of) -> None:
    tower = tower_of('eva')
    shaken(add_prompts(tower, tokens=2))
    attention, calls = tower.blocks[1].attn, []
    attention.register_forward_hook(lambda m, args, kw, out: calls.append((args[0], kw['rope'], out)), with_kwargs=True)
    readouts(tower, torch.randn(1, 3, 64, 112))
    for tokens_BLC, rope, answer_BLC in calls:
        with torch.no_grad():
            layers = (attention.q_proj, attention.k_proj, attention.v_proj)
            q, k, v = (layer(tokens_BLC).unflatten(-1, (2, -1)).transpose(1, 2) for layer in layers)
            q, k = (torch.cat([x[:, :, :3], apply_rot_embed_cat(x[:, :, 3:], rope)], dim=2) for x in (q, k))
            mixed = ((q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5).softmax(-1) @ v
            expected = attention.proj(attention.norm(mixed.transpose(1, 2).flatten(2)))
        torch.testing.assert_close(answer_BLC, expected, **CLOSE)


@pytest.mark.parametrize('kind', TRANSFORMERS)
def test_adapters_start_as_nothing_learn_and_merge(tower_of, kind: str) -> None:
    tower = tower_of(kind)
    images = torch.randn(1, 3, 64, 112)
    names, before = list(tower.state_dict()), readouts(tower, images)
    add_adapters(tower, rank=2, alpha=4, layers=LAYERS)
    for ours, plain in zip(readouts(tower, images), before, strict=True):
        torch.testing.assert_close(ours, plain, **CLOSE)
    for module in tower.modules():
        if isinstance(module, LowRank):
            shaken(module)
    learned = readouts(tower, images)
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in zip(learned, before, strict=True))
    assert sorted(merge(tower).state_dict()) == sorted(names)
    for ours, expected in zip(readouts(tower, images), learned, strict=True):
        torch.testing.assert_close(ours, expected, **CLOSE)


def test_adapter_is_the_papers_formula(tower_of) -> None:
    tower = tower_of('vit')
    weight = tower.blocks[1].attn.in_proj_weight.detach().clone()
    add_adapters(tower, rank=2, alpha=3, layers=('query', 'value'))
    attention = tower.blocks[1].attn
    change = attention.parametrizations.in_proj_weight[0]
    shaken(change)
    expected = weight.clone()
    for group, rows in enumerate((slice(0, 64), slice(128, 192))):
        expected[rows] += 3 / 2 * change.up_POR[group].detach() @ change.down_PRC[group].detach()
    torch.testing.assert_close(attention.in_proj_weight.detach(), expected, **CLOSE)


def test_only_additions_learn_in_a_backbone(tower_of) -> None:
    backbone = TowerBackbone(tower_of('vit'), (0, 2), adapters={'rank': 2}, prompts={'tokens': 2, 'dropout': 0.5})
    backbone.train()
    sum(m.square().mean() for m in backbone(torch.randn(2, 3, 48, 48))).backward()
    learn = {name.rsplit('.', 1)[-1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert learn == {'tokens_NPC', 'up_POR', 'down_PRC'}
    assert [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None] == []
    assert len(backbone.tower.prompts.tokens_NPC) == 3  # the fourth block is not read
    assert backbone.tower.prompts.dropout.training
    assert not backbone.tower.visual.ln_pre.training
    assert not backbone.frozen


@pytest.mark.parametrize(
    'settings', [{'adapters': {'layers': LAYERS}}, {'tune': 'query_value'}, {'prompts': {'tokens': 2}}]
)
def test_mixed_precision(tower_of, settings: dict) -> None:
    backbone = TowerBackbone(tower_of('vit'), **settings).train()
    with torch.autocast('cpu', torch.bfloat16):
        sum(m.float().square().mean() for m in backbone(torch.randn(2, 3, 48, 48))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters() if p.requires_grad)


def test_a_copy_has_prompts_of_its_own(tower_of) -> None:
    """As an averaged model is made."""
    tower, images = tower_of('vit'), torch.randn(1, 3, 48, 48)
    add_prompts(tower, tokens=2)
    other = copy.deepcopy(tower)
    before = readouts(tower, images)
    shaken(other.prompts)
    assert all(torch.equal(a, b) for a, b in zip(before, readouts(tower, images), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before, readouts(other, images), strict=True))


def test_towers_and_settings_that_do_not_fit(tower_of) -> None:
    for add, word in ((lambda t: add_prompts(t, 2), 'prompts'), (add_adapters, 'adapters')):
        with pytest.raises(ConfigError, match=f'{word}: OpenClipTower has no transformer blocks'):
            add(tower_of('resnet'))
    with pytest.raises(ConfigError, match='write a rank from 1 and layers of query'):
        add_adapters(tower_of('vit'), layers=('queries',))
    with pytest.raises(ConfigError, match='1 to 6 blocks'):
        add_prompts(TimmTower('test_vit'), tokens=1, blocks=9)
    with pytest.raises(ConfigError, match="readout='qq', which knows none"):
        add_prompts(tower_of('vit', readout='qq'), tokens=1)
    tower = tower_of('vit')
    add_prompts(tower, tokens=1)
    with pytest.raises(ConfigError, match='has prompts already'):
        add_prompts(tower, tokens=1)


def test_merging_learned_rows_gives_the_plain_names(tower_of) -> None:
    tower, images = tower_of('vit'), torch.randn(1, 3, 48, 64)
    names = set(tower.state_dict())
    tune(tower, 'query_value')
    shaken(tower.blocks[0].attn.parametrizations)
    expected = readouts(tower, images)
    assert set(merge(tower).state_dict()) == names
    for ours, theirs in zip(readouts(tower, images), expected, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
