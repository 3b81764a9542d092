"""ViLD: its equations in numpy, and its full-size recipes, shrunk, on made-up data in LVIS's and COCO's layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import MissingFileError
from vlm_dense.models import EmbeddingClassifier, score_ensemble, words_of
from vlm_dense.models.branches import embedding_l1
from vlm_dense.registry import DATASETS, MODELS
from vlm_dense.text.vocabulary import Vocabulary
from vlm_dense.vlms import ImageTower

CONFIGS = Path(__file__).parents[2] / 'configs'
FULL_SIZE = ['vild_r50_lvis.py', 'vild_r50_ovcoco.py']
SIDE = 96


@MODELS.register_module()
class ViLDTestBank:
    """Unit rows of CLIP ViT-B/32's width without its text encoder."""

    embed_dim = 512

    def __call__(self, vocabulary: Vocabulary) -> Tensor:
        generator = torch.Generator().manual_seed(len(vocabulary))
        return functional.normalize(torch.randn(len(vocabulary), 512, generator=generator), dim=1)


@MODELS.register_module()
class ViLDTestTower(ImageTower):
    """One convolution of CLIP ViT-B/32's width."""

    embed_dim = 512
    mean = (122.8, 116.7, 104.1)
    std = (68.5, 66.6, 70.3)
    input_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 512, 32)

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        return functional.normalize(self.conv(images_B3HW).flatten(1), dim=1)


def shrink(settings: object) -> None:
    """Narrow layers, few regions, ordinary norms, small pictures; types and structure stay."""
    if isinstance(settings, list | tuple):
        for entry in settings:
            shrink(entry)
    if not isinstance(settings, dict):
        return
    if settings.get('type') == 'SyncBN':
        settings['type'] = 'BN'  # torch has no synchronised norm on CPUs
    if settings.get('type') == 'RandomResize':
        settings['scale'], settings['ratio_range'] = (SIDE, SIDE), (0.9, 1.1)
    if settings.get('type') == 'Resize':
        settings['scale'] = (SIDE, SIDE)
    if settings.get('type') == 'RandomCrop':
        settings['crop_size'] = (SIDE, SIDE)
    narrow = dict(conv_channels=16, fc_channels=32, conv_out_channels=16, feat_channels=16, max_per_img=20, nms_pre=40)
    settings.update({key: value for key, value in narrow.items() if key in settings})
    if settings.get('out_channels') == 256:
        settings['out_channels'] = 16
    if settings.get('in_channels') == 256:
        settings['in_channels'] = 16
    for value in settings.values():
        shrink(value)


def tiny(name: str, root: Path) -> Config:
    config = Config.fromfile(CONFIGS / name)
    init_default_scope(config.default_scope)
    model = config.model
    model.text_bank = dict(type='vlm_dense.ViLDTestBank')
    model.branches.image.teacher.tower = dict(type='vlm_dense.ViLDTestTower')
    shrink(model)
    model.backbone.base_channels = 8
    model.neck.in_channels = [32, 64, 128, 256]
    model.roi_head.bbox_head.in_channels = 16
    model.train_cfg.rcnn.sampler.num = 16
    for loader in (config.train_dataloader, config.val_dataloader):
        move(loader.dataset, root)
        shrink(loader.dataset)
    return config


def move(settings: object, root: Path) -> None:
    """Point every path that starts in data/ to a folder of the test."""
    if isinstance(settings, list):
        for entry in settings:
            move(entry, root)
    if isinstance(settings, dict):
        for key, value in settings.items():
            if isinstance(value, str) and value.startswith('data/'):
                settings[key] = str(root / value) + ('/' if value.endswith('/') else '')
            move(value, root)


def annotations(names: list[str], files: list[str], lvis: bool) -> dict:
    categories = [dict(id=3 * row + 1, name=name, frequency='frc'[row % 3]) for row, name in enumerate(names)]
    images = []
    boxes = []
    for number, file in enumerate(files, start=1):
        place = dict(coco_url=f'http://images.cocodataset.org/{file}') if lvis else dict(file_name=Path(file).name)
        images.append(dict(id=number, width=SIDE, height=SIDE, **place))
        # The first names are base in both vocabularies.
        for offset, category in ((8, categories[0]['id']), (40, categories[2]['id'])):
            corners = [offset, offset, offset + 40, offset, offset + 40, offset + 40, offset, offset + 40]
            boxes.append(
                dict(
                    id=len(boxes) + 1,
                    image_id=number,
                    category_id=category,
                    bbox=[offset, offset, 40, 40],
                    area=1600,
                    iscrowd=0,
                    segmentation=[corners],
                )
            )
    return dict(images=images, annotations=boxes, categories=categories)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """LVIS's and COCO's folders with two pictures each."""
    words = json.loads((CONFIGS.parent / 'vlm_dense/datasets/vocabularies/ovcoco.json').read_text())['words']
    generator = np.random.default_rng(0)
    for data, names, files in (
        ('lvis_v1', ['aerosol_can', 'abacus', 'air_conditioner'], ['lvis_v1_train.json', 'lvis_v1_val.json']),
        ('coco', words, ['instances_train2017.json', 'instances_val2017_all_2.json']),
    ):
        folder = tmp_path / 'data' / data
        (folder / 'annotations').mkdir(parents=True)
        for split, file in zip(('train2017', 'val2017'), files, strict=True):
            (folder / split).mkdir()
            pictures = [f'{split}/{number}.jpg' for number in range(2)]
            for picture in pictures:
                Image.fromarray(generator.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(folder / picture)
            content = annotations(names, pictures, lvis=data == 'lvis_v1')
            (folder / 'annotations' / file).write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize('name', FULL_SIZE)
def test_full_size_recipes_step_on_tiny_data(name: str, root: Path) -> None:
    config = tiny(name, root)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[1]])
    words = batch['data_samples'][0].vocabulary
    assert all(words.is_base)
    model = MODELS.build(config.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    model.train()
    ready = model.data_preprocessor(batch, True)
    total, log = model.parse_losses(model(**ready, mode='loss'))
    assert {'loss_cls', 'loss_bbox', 'loss_mask', 'image.loss_distill'} < set(log)
    assert all(torch.as_tensor(value).isfinite() for value in log.values())
    optimizer.optimizer.zero_grad()
    total.backward()
    without = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    optimizer.optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('name', FULL_SIZE)
def test_full_size_recipes_predict_all_words(name: str, root: Path) -> None:
    config = tiny(name, root)
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
    config = tiny(name, tmp_path)
    with pytest.raises(MissingFileError, match=r'data/(lvis_v1|coco)|vocabulary'):
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
    classifier.background_D.data = 5 * tensor(background)
    base_K = torch.from_numpy(is_base)
    logits = classifier.train()(tensor(region), tensor(text), base_K)
    np.testing.assert_allclose(functional.cross_entropy(logits, torch.tensor(labels)).item(), loss_text, rtol=1e-9)
    np.testing.assert_allclose(embedding_l1(tensor(image), tensor(teacher)).item(), loss_image, rtol=1e-9)
    found_p = classifier.eval()(tensor(region), tensor(text)).softmax(1)[:, :4]
    found_q = EmbeddingClassifier(8, 0.01, background=None)(tensor(image), tensor(text)).softmax(1)
    found = score_ensemble(found_p, found_q, base_K, 1 / 3, 2 / 3).detach().numpy()
    np.testing.assert_allclose(found, scores, rtol=1e-7, atol=1e-12)
