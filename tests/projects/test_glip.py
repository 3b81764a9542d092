"""GLIP's recipes: the authors' constants, the optimizer, and requests through the tools."""

import copy
from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmengine.structures import InstanceData
from recipes import CONFIGS, tiny_recipe

from vlm_dense.apis import Finder
from vlm_dense.engine import build_runner
from vlm_dense.engine.protocol_runs.settings import SeenWords, set_protocol
from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.models.requests import words_of
from vlm_dense.registry import DATASETS, MODELS, TRANSFORMS
from vlm_dense.text.prompt_packing import one_prompt, word_texts
from vlm_dense.text.vocabulary import Vocabulary

FULL_SIZE = sorted(path.name for path in CONFIGS.glob('glip*_swin_*.py'))
# Per pre-training what its data are, in their order, and how often each is drawn from, in thousands.
DETECTION, GOLDG = 'objects365v1', {'gqa': 600, 'flickr30k_entities': 150}
MIXTURES = {
    'glip_swin_t_c.py': {DETECTION: 660, **GOLDG},
    'glip_swin_t.py': {DETECTION: 660, **GOLDG, 'cap4m': 4000},
    'glipv2_swin_t.py': {DETECTION: 660, **GOLDG, 'cap4m': 4000},
    'glip_swin_l.py': {
        DETECTION: 2800,
        'gqa': 2400,
        'flickr30k_entities': 1200,
        'openimages': 2000,
        'visual_genome': 1200,
        'imagenet_boxes': 1330,
        'cap24m': 24_000,
    },
}


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


def test_rates_and_decay_of_pretraining(grounding_root: Path) -> None:
    config = tiny_recipe('glip_swin_t.py', grounding_root)
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


@pytest.mark.parametrize('name', MIXTURES)
def test_mixtures(name: str) -> None:
    loader = Config.fromfile(CONFIGS / name).train_dataloader
    roots = [Path(dataset.data_root).name for dataset in loader.dataset.datasets]
    assert dict(zip(roots, loader.sampler.weights, strict=True)) == MIXTURES[name]
    for dataset in loader.dataset.datasets:
        last = dataset.pipeline[-1]
        assert last.type == 'vlm_dense.DetectionAsGrounding'
        assert (last.max_negatives, last.full, last.max_tokens) == (85, 0.5, 256)


@pytest.mark.parametrize('name', ['glip_swin_t_a.py', 'glip_swin_t_lvis.py'])
def test_long_vocabularies_fit_a_training_prompt(name: str, grounding_root: Path) -> None:
    """85 of Objects365's 365 names nearly always fit beside those that are there; of LVIS' longer ones about 70."""
    config = tiny_recipe(name, grounding_root)
    words = Vocabulary.from_dataset('objects365_v1' if '_a' in name else 'lvis_v1').words
    settings = dict(config.train_dataloader.dataset.pipeline[-1], vocabulary=words, full=1.0)
    step = TRANSFORMS.build(settings)
    model = MODELS.build(config.model.language_model)
    numbers = []
    for number in range(100):
        np.random.seed(number)
        sample = DetDataSample(metainfo=dict(img_path='a.jpg'))
        sample.gt_instances = InstanceData(labels=torch.from_numpy(np.random.permutation(len(words))[:5]))
        asked = step(dict(data_samples=sample))['data_samples'].vocabulary.words
        prompt = one_prompt(word_texts(asked, clean=True), model.count_tokens, model.max_tokens)
        assert model.count_tokens([prompt.text]) <= [256]
        numbers.append(len(asked))
    assert np.mean(numbers) > (89 if '_a' in name else 65)
    assert max(numbers) <= 90


def test_a_short_pretraining_on_names_and_captions(grounding_root: Path, tmp_path: Path) -> None:
    config = tiny_recipe('glip_swin_t.py', grounding_root)
    for part in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        config.pop(part)
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=20)
    config.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    config.optim_wrapper.optimizer.lr, config.param_scheduler, config.custom_hooks = 1e-3, None, []
    config.work_dir, config.log_level, config.randomness = str(tmp_path), 'WARNING', dict(seed=1)
    runner = build_runner(config)
    model, data = runner.model, DATASETS.build(config.train_dataloader.dataset)
    # A picture with names, one of GoldG, and one of a shard, twice the same.
    np.random.seed(0)
    batch = pseudo_collate([data[0], data[2], data[6]])

    def loss() -> float:
        torch.manual_seed(0)
        model.train()
        ready = model.data_preprocessor(copy.deepcopy(batch), True)
        return model.parse_losses(model(**ready, mode='loss'))[0].item()

    before = loss()
    runner.train()
    assert loss() < 0.8 * before
    with torch.no_grad():
        found = model.eval().test_step(copy.deepcopy(batch))
    assert [sample.get('prompt') is None for sample in found] == [True, False, False]
    phrases = [{'A man', 'a small dog'}, {'two small dogs', 'bench'}]
    assert [set(words_of(sample)) for sample in found[1:]] == phrases
    assert set(words_of(found[0])) <= {'Person', 'Sneakers', 'Chair'}


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


def test_finder_answers_with_the_callers_words(grounding_root: Path) -> None:
    config = tiny_recipe('glip_swin_t_lvis.py', grounding_root)
    finder = Finder(config)
    words = ['tv (monitor)', 'traffic_light', 'кошка']
    found = finder.detect(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), words)
    assert set(found.words) <= set(words)
    assert len(found.words) > 3


def test_flickr_samples_bring_their_sentence(grounding_root: Path) -> None:
    config = tiny_recipe('glip_swin_t_flickr30k.py', grounding_root)
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
def test_protocols_take_the_recipe(protocol: str, grounding_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.fromfile(CONFIGS / 'glip_swin_t.py')
    monkeypatch.setattr('vlm_dense.engine.protocol_runs.settings._base_of', lambda _: SeenWords(frozenset()))
    monkeypatch.setattr(
        'vlm_dense.engine.protocol_runs.settings._build', lambda *_: Vocabulary.from_words(['cat', 'dog'])
    )
    set_protocol(config, find_protocol(protocol), str(grounding_root / 'out'), str(grounding_root / 'data'))
    steps = [step['type'] for step in config.test_dataloader.dataset.pipeline]
    assert steps == ['LoadImageFromFile', 'FixScaleResize', 'PackDetInputs', 'vlm_dense.AttachVocabulary']
