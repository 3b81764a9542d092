"""The authors' GLIP by name; mmdet's converter is the oracle."""

import importlib.util
from pathlib import Path
from typing import Any

import mmdet
import pytest
import torch
from bert_parts import WIDTH, tiny_bert
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from vlm_dense.checkpoints import load_state
from vlm_dense.checkpoints.adapters import from_grounding_release, is_grounding_release, to_own_names
from vlm_dense.engine.loading import fill_model
from vlm_dense.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    ('backbone.patch_embed.projection.', 'backbone.body.patch_embed.proj.'),
    ('backbone.stages.', 'backbone.body.layers.'),
    ('.ffn.layers.0.0.', '.mlp.fc1.'),
    ('.ffn.layers.1.', '.mlp.fc2.'),
    ('.attn.w_msa.', '.attn.'),
    ('neck.lateral_convs.0.conv', 'backbone.fpn.fpn_inner2'),
    ('neck.lateral_convs.1.conv', 'backbone.fpn.fpn_inner3'),
    ('neck.lateral_convs.2.conv', 'backbone.fpn.fpn_inner4'),
    ('neck.fpn_convs.0.conv', 'backbone.fpn.fpn_layer2'),
    ('neck.fpn_convs.1.conv', 'backbone.fpn.fpn_layer3'),
    ('neck.fpn_convs.2.conv', 'backbone.fpn.fpn_layer4'),
    ('neck.fpn_convs.3.conv', 'backbone.fpn.top_blocks.p6'),
    ('neck.fpn_convs.4.conv', 'backbone.fpn.top_blocks.p7'),
    ('language_model.language_backbone.', 'language_backbone.'),
    ('bbox_head.head.', 'rpn.head.'),
    ('.dyconvs.', '.DyConv.'),
    ('.attnconv.', '.AttnConv.'),
)


@pytest.fixture(scope='module')
def model() -> nn.Module:
    config = Config.fromfile(ROOT / 'configs' / 'glip_swin_t.py').model
    config.backbone.update(embed_dims=16, num_heads=[1, 2, 4, 8], depths=[1, 1, 1, 1], init_cfg=None)
    config.neck.update(in_channels=[32, 64, 128], out_channels=32)
    config.bbox_head.update(in_channels=32, feat_channels=32, num_blocks=1)
    config.bbox_head.text = dict(width=WIDTH, num_heads=2, intermediate=48)
    config.language_model.model = str(tiny_bert())
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(config)


def authors_order(weight: Tensor) -> Tensor:
    """From the columns of ``nn.Unfold`` (channel, row, column) to cells (column, row) of all channels."""
    channels = weight.shape[-1] // 4
    by_cell = weight.reshape(*weight.shape[:-1], channels, 2, 2)
    return torch.movedim(by_cell, (-1, -2), (-3, -2)).reshape(weight.shape)


def as_authors(model: nn.Module) -> dict[str, Tensor]:
    made = {}
    for name, weight in model.state_dict().items():
        if 'downsample' in name:
            weight = authors_order(weight)
        for ours, theirs in NAMES:
            name = name.replace(ours, theirs)
        if name.startswith('backbone.') and not name.startswith(('backbone.body.', 'backbone.fpn.')):
            name = name.replace('backbone.', 'backbone.body.', 1)
        made[f'module.{name}'] = weight.clone()
    unused = {
        'rpn.anchor_generator.cell_anchors.0': torch.zeros(1, 4),
        'rpn.head.cls_logits.weight': torch.zeros(80, 32, 1, 1),
        'language_backbone.body.model.pooler.dense.weight': torch.zeros(WIDTH, WIDTH),
        'language_backbone.body.model.embeddings.position_ids': torch.arange(512)[None],
    }
    return made | {f'module.{name}': weight for name, weight in unused.items()}


def without_wrapper(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix('module.'): weight for name, weight in weights.items()}


def converter() -> Any:
    path = Path(mmdet.__file__).parent / '.mim/tools/model_converters/glip_to_mmdet.py'
    spec = importlib.util.spec_from_file_location('glip_to_mmdet', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_and_numbers_are_those_of_mmdets_converter(model: nn.Module) -> None:
    theirs = as_authors(model)
    found, expected = from_grounding_release(without_wrapper(theirs)), converter().convert(theirs)
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_round_trip(model: nn.Module) -> None:
    found = from_grounding_release(without_wrapper(as_authors(model)))
    left_over = found.pop('language_model.language_backbone.body.model.embeddings.position_ids')
    assert left_over.shape == (1, 512)
    own = model.state_dict()
    assert set(found) == set(own)
    assert all(torch.equal(found[name], weight) for name, weight in own.items())


def test_chosen_by_itself_when_a_checkpoint_is_loaded(model: nn.Module, tmp_path: Path) -> None:
    expected = {name: weight.clone() for name, weight in model.state_dict().items()}
    checkpoint = dict(model=as_authors(model), iteration=3)
    torch.save(checkpoint, tmp_path / 'glip.pth')
    for load in (
        lambda: load_state(model, tmp_path / 'glip.pth', strict=True),
        lambda: fill_model(model, checkpoint, 'the checkpoint', whole=True, revise_keys=[(r'^module.', '')]),
    ):
        for weight in model.parameters():
            weight.data.zero_()
        coverage = load()
        assert coverage.is_complete
        assert coverage.unexpected == ()
        assert len(coverage.matched) == len(expected)
        assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())


def test_what_it_does_not_know_is_reported(model: nn.Module, tmp_path: Path) -> None:
    weights = as_authors(model) | {'module.rpn.mask_head.weight': torch.zeros(1)}
    torch.save(dict(model=weights), tmp_path / 'more.pth')
    coverage = load_state(model, tmp_path / 'more.pth')
    assert coverage.is_complete
    assert coverage.unexpected == ('rpn.mask_head.weight',)


def test_other_layouts_are_left_alone(model: nn.Module) -> None:
    own = model.state_dict()
    assert not is_grounding_release(own)
    assert to_own_names(own) is own
