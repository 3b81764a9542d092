"""GLIP's recipes: the authors' constants, the optimizer, and requests through the tools."""

from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from recipe_data import write_boxes_data, write_grounding_data
from recipes import CONFIGS, tiny_recipe

from vlm_dense.apis import Finder
from vlm_dense.engine.protocol_runs.settings import set_protocol
from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary

FULL_SIZE = sorted(path.name for path in CONFIGS.glob('glip_swin_*.py'))


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('glip')
    write_boxes_data(folder)
    write_grounding_data(folder)
    return folder


@pytest.mark.parametrize('name', FULL_SIZE)
def test_sizes_are_those_of_the_paper(name: str) -> None:
    model = Config.fromfile(CONFIGS / name).model
    large = 'swin_l.py' in name
    widths = [192, 384, 768, 1536] if large else [96, 192, 384, 768]
    assert model.backbone.embed_dims == widths[0]
    assert model.backbone.depths == ([2, 2, 18, 2] if large else [2, 2, 6, 2])
    assert model.backbone.window_size == (12 if large else 7)
    assert model.neck.in_channels == widths[1:]
    assert model.bbox_head.num_blocks == (8 if large else 6)
    assert model.bbox_head.early_fuse == (name != 'glip_swin_t_a.py')
    assert model.test_cfg.get('words_per_prompt') == (40 if 'lvis' in name else None)


def test_settings_are_those_of_mmdet() -> None:
    """The head's weights are compared in tests/models/test_grounding_detector.py."""
    settings = Config.fromfile(
        Path(mmdet.__file__).parent / '.mim/configs/glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py'
    ).model
    model = Config.fromfile(CONFIGS / 'glip_swin_t_a.py').model
    for part in ('backbone', 'neck'):
        with DefaultScope.overwrite_default_scope('mmdet'):
            expected, found = MODELS.build(settings[part]), MODELS.build(dict(model[part], init_cfg=None))
        shapes = {key: weight.shape for key, weight in expected.state_dict().items()}
        assert {key: weight.shape for key, weight in found.state_dict().items()} == shapes
    for part in ('mean', 'std', 'bgr_to_rgb', 'pad_size_divisor'):
        assert model.data_preprocessor[part] == settings.data_preprocessor[part]
    assert model.bbox_head.anchor_generator == settings.bbox_head.anchor_generator
    assert model.bbox_head.bbox_coder.type == settings.bbox_head.bbox_coder.type
    assert {key: value for key, value in model.test_cfg.items() if key != 'words_per_prompt'} == settings.test_cfg


def test_rates_and_decay_of_pretraining(root: Path) -> None:
    config = tiny_recipe('glip_swin_t.py', root)
    config.model.bbox_head.loss_cls = dict(type='FocalLoss')
    model = MODELS.build(config.model)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    found = {names[id(p)]: (g['lr'], g['weight_decay']) for g in groups for p in g['params']}
    for key, (rate, decay) in found.items():
        if key.startswith('language_model.'):
            assert (rate, decay) == pytest.approx((1e-5, 1e-4)), key
        elif 'bias' in key:
            assert (rate, decay) == pytest.approx((2e-4, 0)), key
        else:
            assert (rate, decay) == pytest.approx((1e-4, 1e-4)), key
    assert 'backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table' in found


def test_the_large_models_decay_drops_before_its_rate() -> None:
    """WEIGHT_DECAY_SCHEDULE of the release's glip_Swin_L.yaml: by 10 at 0.667 of the way to each drop of the rate."""
    config = Config.fromfile(CONFIGS / 'glip_swin_l.py')
    (drops,) = (one for one in config.param_scheduler if one.get('param_name') == 'weight_decay')
    rate = next(one for one in config.param_scheduler if one.type == 'MultiStepLR')
    assert drops.milestones == [round(0.667 * step) for step in rate.milestones]
    settings = {key: value for key, value in drops.items() if key not in ('type', 'milestones')}
    weights = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0, weight_decay=0.01)
    scheduler = PARAM_SCHEDULERS.build(dict(settings, type=drops.type, milestones=[2, 3], optimizer=weights))
    seen = []
    for _ in range(4):
        seen.append(weights.param_groups[0]['weight_decay'])
        weights.step()
        scheduler.step()
    assert seen == pytest.approx([0.01, 0.01, 0.001, 0.0001])


def test_finder_answers_with_the_callers_words(root: Path) -> None:
    config = tiny_recipe('glip_swin_t_lvis.py', root)
    config.model.bbox_head.loss_cls = dict(type='FocalLoss')
    finder = Finder(config)
    words = ['tv (monitor)', 'traffic_light', 'кошка']
    found = finder.detect(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), words)
    assert set(found.words) <= set(words)
    assert len(found.words) > 3


def test_flickr_samples_bring_their_sentence(root: Path) -> None:
    config = tiny_recipe('glip_swin_t_flickr30k.py', root)
    config.model.bbox_head.loss_cls = dict(type='FocalLoss')
    dataset = DATASETS.build(config.test_dataloader.dataset)
    picture = pseudo_collate([dataset[0], dataset[1]])
    sample = picture['data_samples'][0]
    assert sample.prompt.text == 'A man feeds a small dog'
    said = [sample.prompt.text[start:end] for ((start, end),) in sample.prompt.spans]
    assert said == list(sample.vocabulary.words) == ['A man', 'a small dog']
    model = MODELS.build(config.model).eval()
    with torch.no_grad():
        found = model.test_step(picture)
    assert all(len(one.pred_instances) for one in found)
    # Finder has no list of trained words here, and asks for any.
    assert Finder(config).detect(np.zeros((40, 50, 3), np.uint8), ['cat']).words


@pytest.mark.parametrize('protocol', ['lvis_minival_fixed', 'flickr30k', 'odinw13', 'coco'])
def test_protocols_take_the_recipe(protocol: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.fromfile(CONFIGS / 'glip_swin_t.py')
    monkeypatch.setattr('vlm_dense.engine.protocol_runs.settings._base_of', lambda _: frozenset())
    monkeypatch.setattr(
        'vlm_dense.engine.protocol_runs.settings._build', lambda *_: Vocabulary.from_words(['cat', 'dog'])
    )
    set_protocol(config, find_protocol(protocol), str(root / 'out'), str(root / 'data'))
    steps = [step['type'] for step in config.test_dataloader.dataset.pipeline]
    assert steps == ['LoadImageFromFile', 'FixScaleResize', 'PackDetInputs', 'vlm_dense.AttachVocabulary']
