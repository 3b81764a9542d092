"""F-VLM: its score in numpy, and its full-size recipes, shrunk, on made-up data in LVIS's and COCO's layout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from recipe_data import write_boxes_data
from recipe_parts import HashedBank
from recipes import CONFIGS, tiny_recipe
from torchvision.ops import roi_align

from vlm_dense.models import WordRows
from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary

FULL_SIZE = ['fvlm_rn50_lvis.py', 'fvlm_rn50_ovcoco.py']


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_boxes_data(tmp_path)
    return tmp_path


@pytest.mark.parametrize('name', FULL_SIZE)
def test_training_steps_leave_the_tower_as_it_is(name: str, root: Path) -> None:
    config = tiny_recipe(name, root)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[1]])
    assert set(batch['data_samples'][0].vocabulary.is_base) == {True}
    config.model.backbone.in_checkpoint = True
    model = MODELS.build(config.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    total, log = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    assert ('loss_mask' in log) == ('lvis' in name)
    optimizer.update_params(total)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}
    assert [key for key in changed if key.startswith('backbone')] == []
    assert 'roi_head.bbox_head.classifier.temperature_factor' in changed
    assert sum('attnpool.c_proj.weight' in key for key in before) == 1


@pytest.mark.parametrize('name', FULL_SIZE)
def test_weight_decay_spares_norms_and_temperature(name: str, root: Path) -> None:
    config = tiny_recipe(name, root)
    model = MODELS.build(config.model)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    spared = {names[id(p)] for group in groups for p in group['params'] if group['weight_decay'] == 0}
    norms = {
        f'{key}.{part}'
        for key, module in model.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d) and module.weight.requires_grad
        for part in ('weight', 'bias')
    }
    assert spared == norms | {'roi_head.bbox_head.classifier.temperature_factor'}


@pytest.mark.parametrize('name', FULL_SIZE)
def test_constants_of_the_paper_and_its_release(name: str) -> None:
    config = Config.fromfile(CONFIGS / name)
    model, head = config.model, config.model.roi_head.bbox_head
    tower = model.backbone.tower
    assert (tower.name, tower.pretrained, model.backbone.tune) == ('RN50-quickgelu', 'openai', 'none')
    assert (head.trunk.num_convs, head.trunk.num_fcs, head.trunk.fc_channels, head.embed_dim) == (4, 1, 1024, 1024)
    assert (head.classifier.temperature, head.classifier.learn_temperature) == (0.01, True)
    assert (head.classifier.background.text, head.background_weight) == ('background', 0.9)
    scorer = model.region_scorer
    assert (scorer.base_power, scorer.novel_power, scorer.classifier.temperature) == (0.35, 0.65, 0.01)
    assert (scorer.roi_extractor.roi_layer.output_size, scorer.roi_extractor.featmap_strides) == (7, [32])
    assert (model.rpn_head.num_convs, model.rpn_head.anchor_generator.scales, model.neck.num_outs) == (2, [8], 5)
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('SGD', 0.36, 1e-4)
    assert (config.train_cfg.max_iters, config.auto_scale_lr.base_batch_size) == (46_100, 256)
    assert config.param_scheduler[1].milestones == [int(46_100 * part) for part in (0.8, 0.9, 0.95)]
    resize, crop = config.load_pipeline[2:4]
    assert (resize.ratio_range, resize.scale, crop.crop_size) == ((0.1, 2.0), (1024, 1024), (1024, 1024))
    test = model.test_cfg
    assert (test.rpn.max_per_img, test.rcnn.nms.iou_threshold) == (1000, 0.5)
    assert (test.rcnn.score_thr, test.rcnn.max_per_img) == ((0.0, 300) if 'lvis' in name else (0.05, 100))


def test_scores_of_a_shrunk_recipe_equal_the_papers_formula(root: Path) -> None:
    """From maps and proposals on: RoIAlign, open_clip's attention pooling, two softmaxes, blend, renormalisation."""
    config = tiny_recipe('fvlm_rn50_lvis.py', root)
    model = MODELS.build(config.model).eval()
    model.init_weights()
    words = Vocabulary.from_words(['wombat', 'garden gnome', 'teapot'], base=['teapot'])
    text_KD, is_base = HashedBank()(words), np.array(words.is_base)
    columns = torch.cat([text_KD, HashedBank()(Vocabulary.from_words(['background']))]).numpy()
    boxes_N4 = torch.tensor([[3.0, 5.0, 60.0, 70.0], [20.0, 10.0, 90.0, 95.0]])
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    softmax = lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1)[:, None]  # noqa: E731
    with torch.no_grad():
        model.roi_head.bbox_head.classifier.temperature_factor.fill_(1.7)
        maps = model.features(torch.randn(1, 3, 96, 96))
        pool = model.backbone.tower.visual.attnpool
        seen = pool(roi_align(maps.backbone[-1], [boxes_N4], 2, 1 / 32, sampling_ratio=0, aligned=True)).numpy()
        proposals = [InstanceData(bboxes=boxes_N4)]
        embedded = model.roi_head(maps.roi, proposals)[0].numpy()
        rows = WordRows(text_KD, torch.tensor(is_base))
        outputs = model.roi_head.bbox_head.probabilities(torch.from_numpy(embedded), rows)
        found = model._rescore(maps.backbone, proposals, rows)(outputs).numpy()
    p = softmax(unit(embedded) @ columns.T / (0.01 * 1.7))
    q = softmax(unit(seen) @ columns.T / 0.01)
    power = np.where(is_base, 0.35, 0.65)
    scores = p[:, :3] ** (1 - power) * q[:, :3] ** power
    scores /= scores.sum(1, keepdims=True) + p[:, 3:]
    np.testing.assert_allclose(found, scores, rtol=1e-3, atol=1e-6)
