"""Full-size recipes that name masks have the published networks and rates."""

import pytest
import timm
import torch
import torchvision
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from recipes import CONFIGS, tiny_recipe
from torch import nn

from vlm_dense.registry import MODELS

RESNETS = ('zegformer_r101_cocostuff.py', 'zegformer_r101_voc.py', 'zegformer_r101_ade847.py')
DEEP_STEMS = ('zsseg_r101c_cocostuff.py', 'ovseg_r101c_cocostuff.py')
SWIN = 'ovseg_swin_b_cocostuff.py'


def part_of(name: str, part: str, device: str = 'meta') -> nn.Module:
    config = Config.fromfile(CONFIGS / name)
    init_default_scope(config.default_scope)
    with torch.device(device):
        return MODELS.build(config.model[part])


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in module.state_dict().items()}


@pytest.mark.parametrize('name', RESNETS)
def test_the_resnet_is_torchvisions(name: str) -> None:
    with torch.device('meta'):
        published = torchvision.models.resnet101()
    expected = {name: shape for name, shape in shapes(published).items() if not name.startswith('fc.')}
    assert shapes(part_of(name, 'backbone')) == expected


@pytest.mark.parametrize('name', DEEP_STEMS)
def test_the_resnet_has_deeplabs_stem_and_dilations(name: str) -> None:
    backbone = part_of(name, 'backbone')
    assert [tuple(backbone.stem[place].weight.shape) for place in (0, 3, 6)] == [
        (64, 3, 3, 3),
        (64, 64, 3, 3),
        (128, 64, 3, 3),
    ]
    assert [block.conv2.dilation for block in backbone.layer4] == [(1, 1), (2, 2), (4, 4)]
    assert [block.conv2.stride for block in backbone.layer4] == [(2, 2), (1, 1), (1, 1)]
    assert not any(p.requires_grad for name, p in backbone.named_parameters() if '.bn' in name)


def test_the_swin_transformer_is_timms() -> None:
    with torch.device('meta'):
        published = timm.create_model('swin_base_patch4_window12_384', num_classes=0)
    # Norms of the maps stand here, the norm before a classifier there.
    counts = [
        sum(p.numel() for name, p in module.named_parameters() if not name.startswith('norm'))
        for module in (part_of(SWIN, 'backbone', 'cpu'), published)  # mmdet's computes when it is built
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(('name', 'layers', 'width'), [(RESNETS[0], 1, 512), (DEEP_STEMS[0], 2, 512), (SWIN, 2, 768)])
def test_the_head_is_maskformers(name: str, layers: int, width: int) -> None:
    head = part_of(name, 'decode_head')
    assert (head.num_queries, len(head.transformer_decoder.layers)) == (100, 6)
    linear = [layer for layer in head.cls_embed.layers if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == [(256, 256)] * (layers - 1) + [(width, 256)]
    assert head.classifier.extra.learned_ED.shape == (1, width)
    assert head.classifier.temperature == 0.01


@pytest.mark.parametrize(
    ('name', 'rate', 'backbone', 'decay'),
    [(RESNETS[0], 1e-4, 0.1, 1e-4), (DEEP_STEMS[1], 2e-4, 0.1, 1e-4), (SWIN, 6e-5, 1.0, 0.01)],
)
def test_rates_and_decays_follow_the_authors(name: str, rate: float, backbone: float, decay: float, tmp_path) -> None:
    config = tiny_recipe(name, tmp_path)
    model = MODELS.build(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    group_of = {id(p): group for group in optimizer.param_groups for p in group['params']}
    norms = {
        id(p)
        for module in model.modules()
        if isinstance(module, nn.GroupNorm | nn.LayerNorm)
        for p in module.parameters()
    }
    for parameter_name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        group = group_of[id(parameter)]
        slow = parameter_name.startswith('backbone')
        assert group['lr'] == pytest.approx(rate * (backbone if slow else 1)), parameter_name
        free = id(parameter) in norms or 'query_embed' in parameter_name or 'relative_position' in parameter_name
        assert group['weight_decay'] == (0 if free else decay), parameter_name
