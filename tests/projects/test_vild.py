"""ViLD: its equations in numpy, and its full-size recipes, shrunk, on made-up data in LVIS's and COCO's layout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from recipe_data import write_boxes_data, write_region_bank
from recipes import CONFIGS, SIDE, tiny_recipe
from torch.nn import functional

from vlm_dense.errors import MissingFileError
from vlm_dense.models import EmbeddingClassifier, ScoreFusion, words_of
from vlm_dense.models.branches import embedding_l1
from vlm_dense.registry import DATASETS, MODELS

FULL_SIZE = ['vild_r50_lvis.py', 'vild_r50_lvis_bank.py', 'vild_r50_ovcoco.py']


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_boxes_data(tmp_path)
    write_region_bank(tmp_path)
    return tmp_path


@pytest.mark.parametrize('name', FULL_SIZE)
def test_full_size_recipes_step_on_tiny_data(name: str, root: Path) -> None:
    config = tiny_recipe(name, root)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[1]])
    words = batch['data_samples'][0].vocabulary
    assert set(words.is_base) == {True, False}
    labels = torch.cat([sample.gt_instances.labels for sample in batch['data_samples']])
    assert labels.numel() > 0
    assert all(words.is_base[label] for label in labels)
    model = MODELS.build(config.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    model.train()
    ready = model.data_preprocessor(batch, True)
    total, log = model.parse_losses(model(**ready, mode='loss'))
    assert {'loss_cls', 'loss_bbox', 'loss_mask', 'image.loss_distill'} < set(log)
    assert log['image.loss_distill'] > 0
    assert all(torch.as_tensor(value).isfinite() for value in log.values())
    optimizer.optimizer.zero_grad()
    total.backward()
    without = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    optimizer.optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('name', FULL_SIZE)
def test_full_size_recipes_predict_all_words(name: str, root: Path) -> None:
    config = tiny_recipe(name, root)
    dataset = DATASETS.build(config.val_dataloader.dataset)
    model = MODELS.build(config.model).eval()
    with torch.no_grad():
        (found,) = model.test_step(pseudo_collate([dataset[0]]))
    assert set(found.vocabulary.is_base) == {True, False}
    assert len(found.pred_instances) == config.model.test_cfg.rcnn.max_per_img
    assert set(words_of(found)) <= set(found.vocabulary.words)
    assert found.pred_instances.masks.shape[1:] == (SIDE, SIDE)
    assert not any('teacher' in key or 'text' in key for key in model.state_dict())


@pytest.mark.parametrize('name', FULL_SIZE)
def test_absent_data_is_one_clear_message(name: str, tmp_path: Path) -> None:
    config = tiny_recipe(name, tmp_path)
    with pytest.raises(MissingFileError, match=r'download (LVIS v1|the COCO 2017 pictures)'):
        DATASETS.build(config.train_dataloader.dataset)


@pytest.mark.parametrize('name', FULL_SIZE)
def test_constants_of_the_paper_and_its_release(name: str) -> None:
    config = Config.fromfile(CONFIGS / name)
    head, train = config.model.roi_head.bbox_head, config.model.train_cfg
    assert (head.trunk.num_convs, head.trunk.num_fcs, head.trunk.fc_channels, head.embed_dim) == (4, 2, 1024, 512)
    assert (head.classifier.temperature, head.classifier.background, head.classifier.novel) == (
        0.01,
        'learned',
        'zero_logit',
    )
    assert (head.distill, head.base_power, head.novel_power) == ('separate', 1 / 3, 2 / 3)
    assert head.loss_bbox.beta == 1.0
    rpn = config.model.rpn_head
    assert (rpn.num_convs, rpn.anchor_generator.scales, rpn.loss_bbox.beta) == (2, [8], 1 / 9)
    assert (train.rcnn.sampler.num, train.rcnn.sampler.pos_fraction) == (512, 0.25)
    distill = config.model.branches.image
    assert (distill.weight, distill.max_regions, distill.teacher.scales) == (0.5, 300, (1.0, 1.5))
    assert config.model.text_bank.prompt == 'vild'
    assert config.optim_wrapper.optimizer.weight_decay == 4e-5
    assert (config.train_cfg.max_iters, config.auto_scale_lr.base_batch_size) == (180_000, 256)
    resize, crop = config.load_pipeline[2:4]
    assert (resize.ratio_range, resize.scale, crop.crop_size) == ((0.1, 2.0), (1024, 1024), (1024, 1024))
    test = config.model.test_cfg
    assert (test.rpn.max_per_img, test.rcnn.score_thr, test.rcnn.nms.iou_threshold) == (1000, 0.0, 0.5)
    assert test.rcnn.max_per_img == (300 if 'lvis' in name else 100)


def test_smooth_l1_with_weight_is_hubers_loss() -> None:
    """The release gives Huber's delta; mm has smooth L1, which is Huber over delta."""
    from mmdet.models.losses import SmoothL1Loss

    gap = torch.linspace(-0.5, 0.5, 101)
    ours = SmoothL1Loss(beta=1 / 9, loss_weight=1 / 9, reduction='none')(gap, torch.zeros_like(gap))
    torch.testing.assert_close(ours, functional.huber_loss(gap, torch.zeros_like(gap), reduction='none', delta=1 / 9))


def test_losses_and_scores_of_three_regions_and_four_words() -> None:
    """Equations (2) to (6) of the paper with the release's treatment of novel columns."""
    generator = np.random.default_rng(0)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=-1, keepdims=True)  # noqa: E731
    region, image, teacher = (unit(generator.normal(size=(3, 8))) for _ in range(3))
    text, background = unit(generator.normal(size=(4, 8))), unit(generator.normal(size=8))
    is_base = np.array([True, True, False, True])
    softmax = lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1)[:, None]  # noqa: E731

    labels = [1, 4, 3]  # word 1, background, word 3
    silenced = np.concatenate([region @ text.T * is_base, (region @ background)[:, None]], axis=1) / 0.01
    loss_text = -np.log(softmax(silenced)[np.arange(3), labels]).mean()
    loss_image = 8 * np.abs(image - teacher).mean()
    p = softmax(np.concatenate([region @ text.T, (region @ background)[:, None]], axis=1) / 0.01)[:, :4]
    q = softmax(image @ text.T / 0.01)
    scores = np.cbrt(p * q * np.where(is_base, p, q))

    tensor = lambda rows: torch.from_numpy(rows).double()  # noqa: E731
    classifier = EmbeddingClassifier(8, 0.01, novel='zero_logit').double()
    classifier.extra.learned_ED.data = 5 * tensor(background)[None]
    base_K = torch.from_numpy(is_base)
    logits = classifier.train()(tensor(region), tensor(text), base_K)
    np.testing.assert_allclose(functional.cross_entropy(logits, torch.tensor(labels)).item(), loss_text, rtol=1e-9)
    np.testing.assert_allclose(embedding_l1(tensor(image), tensor(teacher)).item(), loss_image, rtol=1e-9)
    found_p = classifier.eval()(tensor(region), tensor(text))
    found_q = EmbeddingClassifier(8, 0.01, background=None)(tensor(image), tensor(text))
    found = ScoreFusion(1 / 3, 2 / 3)(found_p, found_q, None, base_K).detach().numpy()
    np.testing.assert_allclose(found, scores, rtol=1e-7, atol=1e-12)
