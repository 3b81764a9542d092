"""LSeg's few-shot recipes, shrunk, on miniatures: what they learn from, at which rates, and what they cannot learn."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from PIL import Image
from recipe_data import write_episodes_data
from recipes import CONFIGS, tiny_recipe
from torch import nn

from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.registry import DATASETS, MODELS

SETS = ('pascal5i', 'coco20i', 'fss1000')
NAMES = [f'lseg_{network}_{name}.py' for network in ('vit_l16', 'rn101') for name in SETS]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('lseg_episodes')
    write_episodes_data(root)
    return root


def first_batch(config: Config) -> dict:
    loader = {**config.train_dataloader, 'num_workers': 0, 'persistent_workers': False, 'batch_size': 4}
    return next(iter(Runner.build_dataloader(loader, seed=0)))


@pytest.mark.parametrize('name', NAMES)
def test_a_training_batch_mixes_words(name: str, root: Path) -> None:
    config = tiny_recipe(name, root)
    batch = first_batch(config)
    asked = [sample.vocabulary.words for sample in batch['data_samples']]
    assert {words[0] for words in asked} == {'others'}
    assert len({words[1] for words in asked}) > 1
    model = MODELS.build(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    assert model.train().train_step(batch, optimizer)['loss'].isfinite()


@pytest.mark.parametrize('name', [name for name in NAMES if 'fss' not in name])
def test_the_test_of_a_recipe_is_its_protocol(name: str, root: Path) -> None:
    config = tiny_recipe(name, root)
    config.test_dataloader.dataset.fold = 3
    own = DATASETS.build(config.test_dataloader.dataset)
    protocol = find_protocol(f'{name.removesuffix(".py").split("_")[-1]}_3').parts[0].below(str(root / 'data'))
    by_protocol = DATASETS.build(dict(protocol.dataset, pipeline=[]))
    keys = ('img_path', 'seg_map_path', 'img_id', 'phrases', 'episodes')
    entries = [
        [{key: one.get_data_info(row)[key] for key in keys} for row in range(len(one))] for one in (own, by_protocol)
    ]
    assert entries[0] == entries[1]
    train = DATASETS.build(dict(config.train_dataloader.dataset, fold=3))
    assert set(train.metainfo['classes']) & set(own.metainfo['classes']) == set()


def test_exchanging_two_unseen_classes_changes_no_loss(root: Path) -> None:
    """Classes 1 and 2 are of fold 0, on which this recipe is tested."""
    config = tiny_recipe('lseg_rn101_pascal5i.py', root)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    maps = sorted((root / 'data/VOCdevkit/VOC2012/SegmentationClassAug').iterdir())
    losses = []
    for numbers in ((1, 2), (2, 1)):
        for path in maps:
            with Image.open(path) as picture:
                labels_HW = np.asarray(picture).copy()
            labels_HW[:8, :8] = numbers[0]
            labels_HW[8:16, :8] = numbers[1]
            Image.fromarray(labels_HW).save(path)
        torch.manual_seed(0)
        model = MODELS.build(config.model).train()
        batch = model.data_preprocessor(pseudo_collate([dataset[row] for row in range(len(dataset))]), True)
        losses.append(model(**batch, mode='loss')['decode.loss_ce'].item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ('name', 'slow'), [(NAMES[0], ('backbone', 'decode_head.reassemble')), (NAMES[3], ('backbone',))]
)
def test_rates_follow_the_authors(name: str, slow: tuple[str, ...], root: Path) -> None:
    config = tiny_recipe(name, root)
    model = MODELS.build(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    rate_of = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    for parameter_name, parameter in model.named_parameters():
        expected = 0.0025 if parameter_name.startswith(slow) else 0.025
        assert rate_of[id(parameter)] == pytest.approx(expected), parameter_name


def test_resnet_is_torchvisions_and_its_norms_learn() -> None:
    settings = Config.fromfile(CONFIGS / 'lseg_rn101_pascal5i.py').model.backbone
    with torch.device('meta'):
        published = timm.create_model('resnet101.tv_in1k')
        backbone = MODELS.build({**settings, 'tower': {**settings.tower, 'pretrained': None}})
    expected = {name: w.shape for name, w in published.state_dict().items() if not name.startswith('fc.')}
    found = {name.removeprefix('tower.trunk.'): w.shape for name, w in backbone.state_dict().items()}
    assert found == expected
    backbone.train()
    assert all(module.training for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
