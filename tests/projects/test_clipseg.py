"""The CLIPSeg recipes, shrunk, on made-up folders in PhraseCut's and ADE20K's layout."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.evaluation import IoUMetric
from recipe_data import write_ade20k_data, write_phrasecut_data
from recipes import CONFIGS, SIDE, tiny_recipe
from safetensors.torch import save_file

from vlm_dense.checkpoints import load_state
from vlm_dense.errors import MissingFileError
from vlm_dense.registry import DATASETS, MODELS

NAME = 'clipseg_rd64_vit_b16_phrasecut.py'
REFINED = 'clipseg_rd64_refined_vit_b16_phrasecut.py'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    write_phrasecut_data(tmp_path)
    return tiny_recipe(NAME, tmp_path)


def test_absent_data_gives_one_message(tmp_path: Path) -> None:
    config = tiny_recipe(NAME, tmp_path)
    with pytest.raises(MissingFileError, match=r'refer_train.json does not exist; fetch VGPhraseCut_v0'):
        DATASETS.build(config.train_dataloader.dataset)


def test_decoder_has_the_published_sizes() -> None:
    """About 1.1 million parameters learn (arXiv:2112.10003, Sec. 3), and none of CLIP's."""
    init_default_scope('mmseg')
    heads = {name: MODELS.build(Config.fromfile(CONFIGS / name).model.decode_head) for name in (NAME, REFINED)}
    plain, refined = (sum(p.numel() for p in head.parameters()) for head in heads.values())
    film, reduces = 2 * (512 * 64 + 64), 3 * (768 * 64 + 64)
    block = 4 * (64 * 64 + 64) + 2 * 64 * 2048 + 2048 + 64 + 4 * 64
    assert plain == film + reduces + 3 * block + 64 * 16 * 16 + 1
    assert plain == pytest.approx(1.1e6, rel=0.05)
    assert refined == film + reduces + 3 * block + (64 * 64 * 9 + 64) + (64 * 32 * 16 + 32) + (32 * 16 + 1)


def test_schedules() -> None:
    for name, steps in ((NAME, 20000), (REFINED, 50000)):
        config = Config.fromfile(CONFIGS / name)
        ends = (config.train_cfg.max_iters, config.train_cfg.val_interval, config.param_scheduler.end)
        assert ends == (steps, steps, steps)
        assert (config.param_scheduler.type, config.param_scheduler.eta_min) == ('CosineAnnealingLR', 1e-4)


def test_tower_stays_frozen_and_the_decoder_learns(config: Config) -> None:
    model = MODELS.build(config.model).train()
    assert not any(module.training for module in model.backbone.tower.modules())
    assert {name.split('.')[0] for name, p in model.named_parameters() if p.requires_grad} == {'decode_head'}
    assert [name for name in model.state_dict() if 'text' in name] == []


def test_overfits_two_phrases(config: Config) -> None:
    torch.manual_seed(0)
    config.model.decode_head.threshold = 0.5
    model = MODELS.build(config.model).train()
    train_set = DATASETS.build(config.train_dataloader.dataset)
    ready = model.data_preprocessor(pseudo_collate([train_set[0], train_set[1]]), True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(ready['inputs'], ready['data_samples'])['decode.loss_mask']
        loss.backward()
        optimizer.step()
    model.eval()
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = train_set.metainfo
    seen = DATASETS.build({**config.test_dataloader.dataset, 'ann_file': config.train_dataloader.dataset.ann_file})
    for sample in seen:  # each with a word of its own
        with torch.no_grad():
            (found,) = model.test_step(pseudo_collate([sample]))
        metric.process({}, [found.to_dict()])
    found_miou = metric.evaluate(len(seen))['mIoU']
    assert found_miou > 80


def test_evaluation_meets_labels_of_the_same_size(config: Config) -> None:
    model = MODELS.build(config.model).eval()
    sample = DATASETS.build(config.test_dataloader.dataset)[0]
    assert tuple(sample['inputs'].shape) == (3, SIDE, SIDE)
    with torch.no_grad():
        (found,) = model.test_step(pseudo_collate([sample]))
    assert found.pred_sem_seg.data.shape == found.gt_sem_seg.data.shape == (1, SIDE, SIDE + 14)
    assert int(found.pred_sem_seg.data.max()) <= 1  # the phrase or the background


@pytest.mark.parametrize('name', [NAME, REFINED])
def test_weights_of_the_authors_load_as_the_readme_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS.build(tiny_recipe(name, tmp_path).model)
    decoder = {name: torch.randn_like(weight) for name, weight in model.decode_head.state_dict().items()}
    monkeypatch.chdir(tmp_path)
    save_file({name.replace('enlarge', 'trans_conv'): weight for name, weight in decoder.items()}, 'model.safetensors')
    readme = (CONFIGS.parent / 'projects' / 'clipseg' / 'README.md').read_text()
    exec(readme.split('```python')[1].split('```')[0], {})
    coverage = load_state(model, 'clipseg.pth')
    assert coverage.is_complete
    assert not coverage.unexpected
    for name, weight in model.decode_head.state_dict().items():
        assert torch.equal(weight, decoder[name])


def test_ade20k_asks_for_all_words(tmp_path: Path) -> None:
    write_ade20k_data(tmp_path)
    config = tiny_recipe('clipseg_rd64_vit_b16_ade20k.py', tmp_path)
    model = MODELS.build(config.model).eval()
    sample = DATASETS.build(config.test_dataloader.dataset)[0]
    with torch.no_grad():
        (found,) = model.test_step(pseudo_collate([sample]))
    assert found.pred_sem_seg.data.shape == (1, 110, 130)
    assert int(found.pred_sem_seg.data.max()) < 150
    assert not any(found.vocabulary.is_base)
