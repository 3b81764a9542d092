"""The SAN recipes against mmseg's own configs, and their words against mmseg's text encoder."""

import json
from pathlib import Path
from typing import Any

import mmseg
import open_clip
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG
from recipe_data import write_coco_stuff_data
from recipes import CONFIGS, tiny_recipe
from torch import Tensor

from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.engine.protocol_runs import set_protocol
from vlm_dense.engine.settings import read_config
from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.registry import MODELS
from vlm_dense.text import TextBank
from vlm_dense.text.encoders import OpenClipTextEncoder
from vlm_dense.text.vocabulary import Vocabulary

MMSEGS = Path(mmseg.__file__).parent / '.mim' / 'configs' / 'san'
RECIPES = ('san_vit_b16_cocostuff', 'san_vit_l14_cocostuff')
PROTOCOLS = dict(cocostuff171=171, ade20k_150=150, ade20k_847=847, context59=59, context459=459, voc20=20)


def both(recipe: str) -> tuple[Any, Any]:
    """Our config and mmseg's."""
    size = recipe.split('_')[2]
    theirs = Config.fromfile(MMSEGS / f'san-vit-{size}_coco-stuff164k-640x640.py')
    return Config.fromfile(CONFIGS / f'{recipe}.py'), theirs


def differing(ours: dict, theirs: dict) -> dict:
    """Settings that ours names and that are other ones in mmseg's."""
    found = {}
    for key, value in ours.items():
        if isinstance(value, dict):
            found.update({f'{key}.{name}': both for name, both in differing(value, theirs[key]).items()})
        elif value != theirs.get(key):
            found[key] = (value, theirs.get(key))
    return found


@pytest.mark.parametrize('recipe', RECIPES)
def test_model_has_mmsegs_settings(recipe: str) -> None:
    ours, theirs = both(recipe)
    assert ours.model.encoder_resolution == theirs.model.encoder_resolution
    assert differing(ours.model.image_encoder, theirs.model.image_encoder) == {}
    for part in ('san_cfg', 'maskgen_cfg', 'train_cfg'):
        assert differing(ours.model.decode_head[part], theirs.model.decode_head[part]) == {}
    assert ours.model.decode_head.deep_supervision_idxs == theirs.model.decode_head.deep_supervision_idxs
    words, *masks = ours.model.decode_head.loss_decode
    assert [differing(*one) for one in zip(masks, theirs.model.decode_head.loss_decode[1:], strict=True)] == [
        {'avg_non_ignore': (True, None)},  # only silences a warning: the divisor is given
        {},
    ]
    assert (words.loss_weight, words.void_weight) == (2.0, theirs.model.decode_head.loss_decode[0].class_weight[-1])
    assert list(ours.model.data_preprocessor.mean) == theirs.data_preprocessor.mean
    assert list(ours.model.data_preprocessor.std) == theirs.data_preprocessor.std


@pytest.mark.parametrize('recipe', RECIPES)
def test_schedule_and_pictures_are_mmsegs(recipe: str) -> None:
    ours, theirs = both(recipe)
    assert ours.train_cfg.max_iters == theirs.train_cfg.max_iters == ours.param_scheduler.end == 60000
    assert differing(ours.optim_wrapper.optimizer, theirs.optim_wrapper.optimizer) == {}
    assert ours.optim_wrapper.clip_grad == theirs.optim_wrapper.clip_grad
    (schedule,) = theirs.param_scheduler
    assert differing(ours.param_scheduler, schedule) == {}
    assert ours.train_dataloader.batch_size == theirs.train_dataloader.batch_size
    steps = [step for step in ours.train_dataloader.dataset.pipeline if not step.type.startswith('vlm_dense')]
    expected = [step for step in theirs.train_dataloader.dataset.pipeline if step.type != 'LoadAnnotations']
    assert [differing(*one) for one in zip(steps, expected, strict=True)] == [{}] * len(expected)


def test_what_learns(tmp_path: Path) -> None:
    """The side network, CLIP's positions and the void; positions, queries and norms without decay, at one rate."""
    config = tiny_recipe('san_vit_b16_cocostuff.py', tmp_path)
    model = MODELS.build(config.model)
    learns = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    side = 'decode_head.side_adapter_network.'
    assert {name for name in learns if not name.startswith(side)} == {
        'image_encoder.pos_embed',
        'decode_head.classifier.extra.learned_ED',
    }
    config.optim_wrapper.type = 'OptimWrapper'
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    assert {group['lr'] for group in groups} == {1e-4}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    plain = {names[id(group['params'][0])] for group in groups if group['weight_decay'] == 0} & learns
    layers = [f'{side}encode_layers.{number}.{norm}' for number in range(8) for norm in ('ln1', 'ln2')]
    norms = {f'{layer}.{part}' for layer in layers for part in ('weight', 'bias')}
    positions = {f'{side}{one}' for one in ('pos_embed', 'query_pos_embed', 'query_embed')}
    assert plain == norms | positions | {'image_encoder.pos_embed'}


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_protocols_ask_for_their_words(protocol: str) -> None:
    config = read_config(str(CONFIGS / 'san_vit_b16_cocostuff.py'))
    set_protocol(config, find_protocol(protocol), out='there')
    (part,) = config.test_cfg.parts
    vocabulary = Vocabulary.build(part['words'])
    assert len(vocabulary) == PROTOCOLS[protocol]
    assert all(vocabulary.is_base) == (protocol == 'cocostuff171')
    sizes = [step['scale'] for step in part['dataset']['pipeline'] if step['type'] == 'ResizeShortestEdge']
    assert sizes == [(640, 640)]


def test_training_words_are_all_seen(tmp_path: Path) -> None:
    write_coco_stuff_data(tmp_path)
    config = tiny_recipe('san_vit_b16_cocostuff.py', tmp_path)
    vocabulary = Vocabulary.build(config.train_dataloader.dataset.vocabulary)
    assert vocabulary.words == Vocabulary.from_dataset('coco_stuff').words
    assert all(vocabulary.is_base)


def mmsegs_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's text half with the names of mmseg's text encoder."""
    parts = {
        'transformer.resblocks.': 'transformer.',
        '.ln_1.': '.norms.0.',
        '.ln_2.': '.norms.1.',
        '.attn.': '.attentions.0.attn.',
        '.mlp.c_fc.': '.ffns.0.layers.0.0.',
        '.mlp.c_proj.': '.ffns.0.layers.1.',
    }
    renamed = {}
    for name, weight in weights.items():
        for old, new in parts.items():
            name = name.replace(old, new)
        renamed[name] = weight
    return renamed


def test_rows_of_words_are_mmsegs(tmp_path: Path) -> None:
    """Templates, tokens, transformer and averaging give what ``CLIPTextEncoder`` gives."""
    name = 'vlm-dense-san-text'
    vision = dict(image_size=32, layers=1, width=64, patch_size=16)
    text = dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=1)
    settings = dict(embed_dim=512, quick_gelu=True, vision_cfg=vision, text_cfg=text)
    (tmp_path / f'{name}.json').write_text(json.dumps(settings))
    open_clip.add_model_config(tmp_path)
    words = ['traffic light', 'wall-other', 'dining table-merged', 'Frisbee']
    with DefaultScope.overwrite_default_scope('mmseg'):
        theirs = MMSEG.build(
            dict(
                type='CLIPTextEncoder',
                vocabulary=words,
                templates='vild',
                embed_dims=32,
                num_layers=1,
                num_heads=2,
                output_dims=512,
                cat_bg=False,
            )
        )
    weights = mmsegs_names(load_open_clip(find_open_clip(name, None)).state_dict())
    left = theirs.load_state_dict(weights, strict=False)
    assert left.missing_keys == []
    bank = TextBank(OpenClipTextEncoder(name), prompt='vild_14', cache_dir=None)
    text_KD = bank(Vocabulary.from_words(words))
    torch.testing.assert_close(theirs.logit_scale.exp() * text_KD, theirs(), rtol=1e-4, atol=1e-4)


def test_readme_names_every_recipe() -> None:
    readme = (CONFIGS.parent / 'projects' / 'san' / 'README.md').read_text()
    assert [name for name in RECIPES if f'configs/{name}.py' not in readme] == []
