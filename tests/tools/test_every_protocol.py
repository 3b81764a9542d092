"""Every protocol, from the official archives to the result: prepare, check, test, json."""

import json
import math
import os
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniatures import provide
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from recipe_data import write_data
from recipes import ROOT, tiny_recipe
from tiny_runs import in_processes, unique_name

from vlm_dense.datasets.preparation import DATA_SETS, check, prepare
from vlm_dense.engine import build_runner
from vlm_dense.engine.protocol_runs import score_again, set_protocol
from vlm_dense.engine.protocol_runs.store import PredictionStore
from vlm_dense.errors import ConfigError
from vlm_dense.evaluation.protocols import PROTOCOLS, find_protocol
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

RECIPES = dict(boxes='vild_r50_lvis.py', phrases='vild_r50_lvis.py', pixels='lseg_vit_l16_ade20k.py')
MASKS = 'fcclip_convnext_l_coco.py'
# Method and protocol, as a user would cross them.
CROSSED = [
    (recipe, protocol)
    for recipes, protocols in (
        (('vild_r50_lvis.py', 'fvlm_rn50_ovcoco.py'), ('ov_coco', 'ov_lvis')),
        (('lseg_vit_l16_ade20k.py', 'maskclip_vit_b16.py'), ('ade20k_150', 'ade20k_847')),
    )
    for recipe in recipes
    for protocol in protocols
] + [('lseg_rn101_pascal5i.py', 'pascal5i_0')]


class Sets:
    """Miniatures of the data sets, prepared when they are asked for."""

    def __init__(self, folder: Path, own: Path) -> None:
        self.folder, self.root, self.own = folder, folder / 'data', own
        self.root.mkdir()
        self.prepared = cache(self._prepared)

    def _prepared(self, name: str) -> Path:
        archives = self.folder / name
        archives.mkdir()
        provide(name, archives, self.root)
        report = prepare(name, self.root, archives=archives, partial=True)
        assert report.good, [str(defect) for defect in report.defects]
        assert check(name, self.root, partial=True).good
        return self.root

    def recipe(self, name: str) -> Config:
        """A recipe shrunk."""
        cfg = tiny_recipe(name, self.own)
        cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
        return cfg

    def config(self, recipe: str, protocol: str, out: Path) -> Config:
        """A recipe shrunk, set to a protocol."""
        cfg = self.recipe(recipe)
        cfg.work_dir = str(out / 'logs')
        cfg.experiment_name = unique_name()
        found = find_protocol(protocol)
        set_protocol(cfg, found, out=str(out), root=str(self.prepared(found.data)))
        return cfg


@pytest.fixture(scope='module')
def sets(tmp_path_factory: pytest.TempPathFactory, pictures_root: Path) -> Sets:
    folder = tmp_path_factory.mktemp('sets')
    with DefaultScope.overwrite_default_scope(None):
        write_data(folder / 'own', pictures_root)
        return Sets(folder, folder / 'own')


@pytest.fixture(autouse=True)
def _own_port_and_no_scope(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        monkeypatch.setenv('TEST_PORT', str(one.getsockname()[1]))
    with DefaultScope.overwrite_default_scope(None):
        yield


def measure(cfg: Config) -> dict[str, Any]:
    build_runner(cfg).test()
    return json.loads(Path(cfg.test_cfg.out, 'result.json').read_text())


def test_data_sets_and_protocols_name_each_other() -> None:
    named = {(protocol, name) for name, entry in DATA_SETS.items() for protocol in entry.protocols}
    assert {(name, protocol.data) for name, protocol in PROTOCOLS.items()} <= named
    assert {protocol for protocol, _ in named} == set(PROTOCOLS)
    evaluation = (ROOT / 'docs' / 'evaluation.md').read_text() + (ROOT / 'README.md').read_text()
    documented = (ROOT / 'docs' / 'datasets.md').read_text()
    for name, protocol in PROTOCOLS.items():
        assert f'`{protocol.data}`' in documented
        assert f'`{name}`' in documented
        assert f'`{name.removesuffix("_fixed")}`' in evaluation or name.startswith('ov_coco_')


@pytest.mark.parametrize('name', [name for name, one in PROTOCOLS.items() if one.kind != 'panoptic'])
def test_from_archives_to_the_result(name: str, sets: Sets, tmp_path: Path) -> None:
    protocol = find_protocol(name)
    result = measure(sets.config(RECIPES[protocol.kind], name, tmp_path))
    assert result['protocol']['title'] == protocol.title
    assert set(protocol.headline) <= result['figures'].keys() | {f'segm_{name}' for name in ('apr', 'apc', 'apf')}
    assert any(value is not None for value in result['figures'].values())
    assert result['pictures'] > 0
    assert list(result.get('parts', {'': 0})) == [part.name for part in protocol.parts]
    again = score_again(str(tmp_path), str(sets.root))
    assert again['figures'] == pytest.approx(result['figures'], nan_ok=True)


@pytest.mark.parametrize('name', [name for name, one in PROTOCOLS.items() if one.kind == 'panoptic'])
def test_panoptic_predictions_that_repeat_the_truth_are_perfect(name: str, sets: Sets, tmp_path: Path) -> None:
    protocol = find_protocol(name)
    root = sets.prepared(protocol.data)
    part = protocol.parts[0].below(str(root))
    truth = json.loads(Path(part.metric['ann_file']).read_text())
    words = Vocabulary.build(part.words)
    word_of = part.metric.get('category_words', {})
    names = {one['id']: word_of.get(one['name'], one['name']) for one in truth['categories']}
    store = PredictionStore(tmp_path / 'predictions')
    asked = dict(protocol=name, weights='0' * 8, config='none', vocabulary=words.content_hash)
    told = dict(recipe='none', checkpoint=None, prompt=None, words=words.as_spec(), test_cfg=None, versions={})
    store.begin(asked, told)
    for annotation in truth['annotations']:
        rgb_HW3 = np.asarray(
            Image.open(Path(part.metric['seg_prefix'], annotation['file_name']).with_suffix('.png')), dtype=np.int64
        )
        ids_HW = rgb_HW3 @ np.array([1, 256, 65536])
        found_HW = np.full_like(ids_HW, len(words))
        for number, segment in enumerate(annotation['segments_info']):
            label = words.index(names[segment['category_id']])
            found_HW[ids_HW == segment['id']] = label + 1000 * number
        record = dict(size=list(ids_HW.shape), pred_panoptic_seg=store.write_map(found_HW))
        store.add(annotation['image_id'], record, seconds=0.0)
    result = score_again(str(tmp_path), str(root))
    assert result['figures']['pq'] == pytest.approx(100)
    assert result['pictures'] == len(truth['annotations'])


@pytest.mark.parametrize(
    ('name', 'made'),
    [
        ('coco_panoptic', 'pred_panoptic_seg'),
        ('ade20k_panoptic', 'pred_panoptic_seg'),
        ('ade20k_instance', 'instances'),
        ('ade20k_150', 'pred_sem_seg'),
    ],
)
def test_masks_answer_every_kind_of_protocol(name: str, made: str, sets: Sets, tmp_path: Path) -> None:
    protocol = find_protocol(name)
    cfg = sets.config(MASKS, name, tmp_path)
    result = measure(cfg)
    assert all(math.isfinite(result['figures'][figure]) for figure in protocol.headline)
    assert result['pictures'] > 0
    store = PredictionStore(tmp_path / 'predictions')
    assert set(store.finished())
    assert all(set(record) == {'size', made} for _, record in store.read())
    words, asked = Vocabulary.build(protocol.parts[0].words), Vocabulary.build(store.request()['words'])
    assert (asked.words, asked.is_thing) == (words.words, words.is_thing)
    trained = {name for row in range(133) for name in Vocabulary.from_dataset('coco_panoptic').names(row)}
    assert asked.is_base == tuple(bool(trained & set(words.names(row))) for row in range(len(words)))
    assert 0 < sum(asked.is_base) <= len(words)
    again = score_again(str(tmp_path), str(sets.root))
    assert again['figures'] == pytest.approx(result['figures'], nan_ok=True)


def test_a_split_is_not_scored_from_predictions_of_another_one(sets: Sets, tmp_path: Path) -> None:
    measure(sets.config(RECIPES['pixels'], 'cocostuff171', tmp_path))
    with pytest.raises(ConfigError, match='base words, but cocostuff_156_15 has its own 156; predict with'):
        score_again(str(tmp_path), str(sets.root), 'cocostuff_156_15')


def figures_of(cfg: Config) -> dict[str, float]:
    with DefaultScope.overwrite_default_scope(None):
        return build_runner(cfg).test()


@pytest.mark.parametrize(('recipe', 'name'), CROSSED)
def test_two_processes_measure_what_one_does(recipe: str, name: str, sets: Sets, tmp_path: Path) -> None:
    found = {}
    for world_size in (1, 2):
        cfg = sets.config(recipe, name, tmp_path / str(world_size))
        cfg.launcher = 'pytorch' if world_size > 1 else 'none'
        found[world_size] = in_processes(figures_of, cfg, world_size=world_size)
        lines = list((tmp_path / str(world_size) / 'predictions').glob('*.jsonl'))
        assert len(lines) == world_size, 'every process predicts something'
    assert found[1] == found[2]


@pytest.mark.slow
@pytest.mark.parametrize(('recipe', 'name'), CROSSED)
def test_the_scripts_measure_the_same_with_two_processes(recipe: str, name: str, sets: Sets, tmp_path: Path) -> None:
    cfg = sets.recipe(recipe)
    # The processes have to know the tiny towers too.
    (tmp_path / 'tiny_towers.py').write_text(
        'from recipe_parts import tiny_clip_resnet, tiny_clip_vit\ntiny_clip_resnet()\ntiny_clip_vit(blocks=3)\n'
    )
    own = cfg.get('custom_imports', {}).get('imports', [])
    cfg.custom_imports = dict(imports=[*own, 'tiny_towers'], allow_failed_imports=False)
    cfg.dump(tmp_path / 'tiny.py')
    what = [str(tmp_path / 'tiny.py')]
    if cfg.get('train_cfg'):
        torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'weights.pth')
        what.append(str(tmp_path / 'weights.pth'))
    root = sets.prepared(find_protocol(name).data)
    environment = {**os.environ, 'PYTHONPATH': f'{ROOT / "tests"}:{tmp_path}'}
    found = []
    for processes in ('1', '2'):
        out = tmp_path / processes
        options = ['--protocol', name, '--data-root', str(root), '--out', str(out), '--work-dir', str(out / 'logs')]
        command = ['bash', str(ROOT / 'tools' / 'dist_test.sh'), *what, processes, *options]
        subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True)
        assert len(list((out / 'predictions').glob('*.jsonl'))) == int(processes)
        found.append(json.loads((out / 'result.json').read_text()))
    assert found[0]['figures'] == found[1]['figures']
    assert [one['processes'] for one in found] == [1, 2]
