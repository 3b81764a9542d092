"""RegionCLIP: its score and losses in numpy, and its full-size recipes, shrunk, on made-up data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from recipe_data import write_boxes_data, write_caption_shards
from recipe_parts import HashedBank
from recipes import CONFIGS, tiny_recipe
from torchvision.ops import roi_align

from vlm_dense.checkpoints import load_state
from vlm_dense.models import WordRows
from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary

FINE_TUNING = [f'regionclip_{tower}_{data}.py' for tower in ('rn50', 'rn50x4') for data in ('ovcoco', 'lvis')]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_boxes_data(tmp_path)
    return tmp_path


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_scores_of_a_shrunk_recipe_equal_the_formula(root: Path) -> None:
    """From the map and proposals on: RoIAlign, fourth stage, attention pooling, zero background, objectness."""
    config = tiny_recipe('regionclip_rn50_lvis.py', root)
    config.model.roi_head.bbox_head.classifier.temperature = 0.01
    config.model.test_cfg.rcnn.update(score_thr=-1, max_per_img=-1)
    config.model.test_cfg.rcnn.nms = dict(type='nms', iou_threshold=1.0)
    config.model.roi_head.bbox_head.with_reg = False
    model = MODELS.build(config.model).eval()
    model.init_weights()
    words = Vocabulary.from_words(['wombat', 'garden gnome', 'teapot'], base=['teapot'])
    text_KD = HashedBank()(words)
    boxes_N4 = torch.tensor([[3.0, 5.0, 60.0, 70.0], [20.0, 10.0, 90.0, 95.0]])
    objectness = np.array([0.9, 0.6], np.float32)
    with torch.no_grad():
        maps = model.features(torch.randn(1, 3, 96, 96))
        visual = model.backbone.tower.visual
        regions = roi_align(maps.roi[0], [boxes_N4], 4, 1 / 16, sampling_ratio=0, aligned=True)
        seen = visual.attnpool(visual.layer4(regions)).numpy()
        proposals = [InstanceData(bboxes=boxes_N4, scores=torch.from_numpy(objectness))]
        meta = [dict(img_shape=(96, 96))]
        rows = WordRows(text_KD, torch.tensor(words.is_base))
        (found,) = model.roi_head.predict_bbox(maps.roi, meta, proposals, rows, rescale=False)
    logits = 100 * unit(seen) @ text_KD.numpy().T
    p = softmax(np.concatenate([logits, np.zeros((2, 1))], axis=1))[:, :3]
    scores = np.sqrt(p * np.log(objectness / (1 - objectness))[:, None])
    np.testing.assert_allclose(found.scores.numpy(), np.sort(scores.ravel())[::-1], rtol=2e-3, atol=1e-6)
    assert found.labels.tolist() == (np.argsort(-scores.ravel(), kind='stable') % 3).tolist()


@pytest.mark.parametrize('name', FINE_TUNING)
def test_a_step_trains_what_the_release_trains(name: str, root: Path) -> None:
    config = tiny_recipe(name, root)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[1]])
    assert set(batch['data_samples'][0].vocabulary.is_base) == {True}
    model = MODELS.build(config.model).train()
    model.init_weights()
    total, log = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    assert ('loss_mask' in log) == ('lvis' in name)
    assert not [key for key in log if 'rpn' in key]
    total.backward()
    learns = {'.'.join(key.split('.')[:4]) for key, p in model.named_parameters() if p.grad is not None}
    tower = {f'backbone.tower.visual.{part}' for part in ('layer2', 'layer3', 'layer4', 'attnpool')}
    assert {key for key in learns if key.startswith('backbone')} == tower
    assert 'roi_head.bbox_head.fc_reg.weight' in learns
    assert sum('attnpool.c_proj.weight' in key for key in model.state_dict()) == 1


@pytest.mark.parametrize('name', FINE_TUNING)
def test_constants_of_the_release(name: str) -> None:
    config = Config.fromfile(CONFIGS / name)
    model, head, large, lvis = config.model, config.model.roi_head.bbox_head, 'x4' in name, 'lvis' in name
    tower = 'RN50x4-quickgelu' if large else 'RN50-quickgelu'
    assert (model.backbone.tower.name, model.text_bank.encoder.name) == (tower, tower)
    assert (model.backbone.tune, model.backbone.out_indices, model.roi_source) == ('stages:1', (2,), 'backbone')
    extractor = model.roi_head.bbox_roi_extractor
    assert (extractor.roi_layer.output_size, head.embed_dim) == ((18, 640) if large else (14, 1024))
    assert (head.classifier.temperature, head.classifier.background) == (0.01, 'zero')
    assert head.background_weight == (0.8 if lvis else 0.2)
    assert head.loss_cls.get('gamma') == (None if lvis else 0.5)
    assert model.roi_head.get('objectness', 'ignore') == ('geometric_mean_logit' if lvis else 'ignore')
    assert (model.test_cfg.rcnn.score_thr, model.test_cfg.rcnn.max_per_img) == ((0.02, 300) if lvis else (0.001, 100))
    assert config.optim_wrapper.optimizer.lr == 0.002
    assert config.train_cfg.max_iters == (180_000 if lvis else 90_000)
    assert config.param_scheduler[1].milestones == ([120_000, 160_000] if lvis else [60_000, 80_000])
    assert config.train_dataloader.dataset.type == (
        'ClassBalancedDataset' if lvis else 'vlm_dense.VocabularyCocoDataset'
    )


def test_zero_shot_answers_are_the_proposals(root: Path) -> None:
    config = tiny_recipe('regionclip_rn50_zeroshot_gt.py', root)
    config.model.test_cfg.rcnn.score_thr = -1
    model = MODELS.build(config.model).eval()
    sample = DATASETS.build(config.test_dataloader.dataset)[0]
    truth = sample['data_samples'].gt_instances.bboxes.tensor
    found = model.test_step(pseudo_collate([sample]))[0].pred_instances
    distance = (found.bboxes[:, None] - truth).abs().amax(2).amin(1)
    assert len(found) == 100
    assert distance.max() < 1e-3


def test_full_size_towers_fit_their_recipes() -> None:
    """Widths of the RoI features against open_clip's own architectures."""
    import open_clip

    for name in FINE_TUNING:
        model = Config.fromfile(CONFIGS / name).model
        vision = open_clip.get_model_config(model.backbone.tower.name)
        width, size = vision['vision_cfg']['width'], vision['vision_cfg']['image_size']
        extractor = model.roi_head.bbox_roi_extractor
        assert extractor.out_channels == 16 * width
        assert extractor.roi_layer.output_size == size // 16
        assert model.roi_head.bbox_head.embed_dim == vision['embed_dim']
        if 'lvis' in name:
            assert (model.roi_head.mask_head.in_channels, model.train_cfg.rcnn.mask_size) == (32 * width, size // 16)


@pytest.mark.parametrize(
    'name', ['regionclip_rn50_zeroshot.py', 'regionclip_rn50_ovcoco.py', 'regionclip_rn50_lvis.py']
)
def test_what_pre_training_learned_goes_on(name: str, root: Path) -> None:
    write_caption_shards(root)
    pre_trained = MODELS.build(tiny_recipe('regionclip_rn50_cc3m.py', root).model)
    with torch.no_grad():
        for parameter in filter(lambda one: one.requires_grad, pre_trained.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    checkpoint = root / 'pre_trained.pth'
    torch.save(dict(state_dict=pre_trained.state_dict()), checkpoint)
    model = MODELS.build(tiny_recipe(name, root).model)
    coverage = load_state(model, checkpoint)
    assert all(key.startswith(('roi_head.bbox_head.fc_reg', 'roi_head.mask_head')) for key in coverage.missing)
    assert coverage.unexpected == ()
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        expected, found = (one.eval().backbone(images)[0] for one in (pre_trained, model))
        torch.testing.assert_close(found, expected)
        head, other = (one.roi_head.shared_head for one in (pre_trained, model))
        torch.testing.assert_close(other.pool(other(found)), head.pool(head(expected)))


@pytest.mark.parametrize('name', ['regionclip_rn50_zeroshot.py', 'regionclip_rn50_lvis.py'])
def test_the_authors_file_fills_a_recipe(name: str, root: Path) -> None:
    """Their names, made up from our own: a fine-tuned detector, its offline network and the words' rows."""
    config = tiny_recipe('regionclip_rn50_lvis.py', root)
    config.model.backbone.in_checkpoint = True
    source = MODELS.build(config.model)
    names = {
        'backbone.tower.visual.': 'backbone.',
        'roi_head.bbox_head.fc_reg.': 'roi_heads.box_predictor.bbox_pred.',
        'roi_head.mask_head.upsample.': 'roi_heads.mask_head.deconv.',
        'roi_head.mask_head.conv_logits.': 'roi_heads.mask_head.predictor.',
    }
    theirs = {'roi_heads.box_predictor.cls_score.weight': torch.ones(3, 512)}
    for key, weight in source.state_dict().items():
        start = next(start for start in names if key.startswith(start))
        theirs[names[start] + key.removeprefix(start)] = weight
    torch.save(dict(model=theirs), root / 'theirs.pth')
    model = MODELS.build(tiny_recipe(name, root).model)
    coverage = load_state(model, root / 'theirs.pth', strict=True)
    assert 'roi_heads.box_predictor.cls_score.weight' in coverage.unexpected
    ours = model.state_dict()
    assert all(torch.equal(ours[key], weight) for key, weight in source.state_dict().items() if key in ours)
