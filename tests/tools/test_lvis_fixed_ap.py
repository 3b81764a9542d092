"""Fixed AP of LVIS minival through tools/test.py: mmdet's own metric says the same of the same predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import provide
from mmdet.evaluation.metrics.lvis_metric import LVISFixedAPMetric
from recipe_data import write_boxes_data, write_grounding_data
from recipes import tiny_recipe

from vlm_dense.datasets.preparation import prepare
from vlm_dense.engine.command_line import run_testing
from vlm_dense.engine.protocol_runs.store import PredictionStore
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

# As GLIP is measured: 40 names to a prompt, and no limit per picture.
UNLIMITED = ['model.test_cfg.max_per_img=-1', 'model.test_cfg.nms_pre=1000', 'model.test_cfg.words_per_prompt=40']


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """Arguments of tools/test.py: a shrunk GLIP with random weights, whose boxes have about the size of the objects."""
    own, archives, root = tmp_path / 'own', tmp_path / 'archives', tmp_path / 'data'
    for folder in (own, archives, root):
        folder.mkdir()
    write_boxes_data(own)
    write_grounding_data(own)
    provide('lvis_minival', archives, root)
    assert prepare('lvis_minival', root, archives=archives, partial=True).good
    cfg = tiny_recipe('glip_swin_t_lvis.py', own)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.dump(tmp_path / 'tiny.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    head = model.bbox_head.head
    with torch.no_grad():
        head.bias0.zero_()
        head.bbox_pred.weight.normal_(std=0.1)
        head.bbox_pred.bias.copy_(torch.tensor([0.0, 0.0, -3.7, -2.6]))
        head.dot_product_projection_text.weight.normal_()
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    paths = ['--data-root', str(root), '--work-dir', str(tmp_path / 'logs')]
    return [str(tmp_path / 'tiny.py'), str(tmp_path / 'weights.pth'), '--protocol', 'lvis_minival_fixed', *paths]


def predictions(out: Path) -> dict[int, dict]:
    """Boxes, scores and labels of every picture."""
    store = PredictionStore(out / 'predictions')
    assert len(store.finished()) == 2
    return {int(identity): record['instances'] for identity, record in store.read()}


def by_mmdet(ann_file: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    # lvis' last release uses an alias that numpy 1.24 dropped.
    monkeypatch.setattr(np, 'float', float, raising=False)
    metric = LVISFixedAPMetric(str(ann_file))
    ids = {one['name']: one['id'] for one in metric._lvis_api.dataset['categories']}
    words = Vocabulary.build(dict(file=str(ann_file))).words
    place = torch.tensor([metric.cat_ids.index(ids[word]) for word in words])
    samples = []
    for identity, found in predictions(out).items():
        instances = dict(
            bboxes=torch.tensor(found['boxes'], dtype=torch.float64),
            scores=torch.tensor(found['scores'], dtype=torch.float64),
            labels=place[found['labels']],
        )
        samples.append(dict(img_id=identity, pred_instances=instances))
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_equals_mmdet(asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / 'out'
    assert run_testing([*asked, '--out', str(out), '--cfg-options', *UNLIMITED]) == 0
    result = json.loads((out / 'result.json').read_text())
    expected = by_mmdet(tmp_path / 'data/lvis_v1/annotations/lvis_v1_minival.json', out, monkeypatch)
    assert all(len(found['scores']) > 300 for found in predictions(out).values()), 'no limit per picture'
    for name in ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf'):
        found = result['figures'][name.lower()]
        value = expected[f'lvis_fixed_ap/{name}']
        assert (-1 if found is None else found / 100) == pytest.approx(value, abs=1e-9), name
    assert result['figures']['ap50'] > 0


def test_a_limit_per_picture_shows_in_the_result(asked: list[str], tmp_path: Path) -> None:
    out = tmp_path / 'out'
    limit = ['model.test_cfg.max_per_img=30', *UNLIMITED[1:]]
    assert run_testing([*asked, '--out', str(out), '--cfg-options', *limit]) == 0
    result = json.loads((out / 'result.json').read_text())
    assert result['test_cfg']['max_per_img'] == 30
    assert [len(found['scores']) for found in predictions(out).values()] == [30, 30]
