"""ZegFormer's recipe, shrunk, trained on COCO-Stuff's miniature and tested on those of other data sets."""

import json
import math
from pathlib import Path

import pytest
from miniatures import provide
from recipe_maps import write_coco_stuff_data
from recipes import tiny_recipe

from vlm_dense.datasets.preparation import prepare
from vlm_dense.engine.command_line import run_testing, run_training
from vlm_dense.evaluation.protocols import find_protocol
from vlm_dense.text.vocabulary import Vocabulary

PROTOCOLS = {
    'ade20k_150': 150,
    'ade20k_847': 847,
    'context59': 59,
    'context459': 459,
    'voc20': 20,
    'cityscapes19': 19,
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The shrunk recipe and a checkpoint of it after two steps on COCO-Stuff's miniature."""
    folder = tmp_path_factory.mktemp('trained')
    write_coco_stuff_data(folder)
    config = tiny_recipe('zegformer_r101_cocostuff.py', folder)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    config.train_dataloader.batch_size = 2
    config.train_cfg.update(max_iters=2, val_interval=10)
    config.default_hooks.checkpoint.interval = 2
    config.dump(folder / 'tiny.py')
    assert run_training([str(folder / 'tiny.py'), '--work-dir', str(folder / 'run')]) == 0
    return [str(folder / 'tiny.py'), str(folder / 'run' / 'iter_2.pth')]


@pytest.mark.parametrize('name', PROTOCOLS)
def test_trained_on_one_data_set_and_tested_on_another(name: str, trained: list[str], tmp_path: Path) -> None:
    protocol = find_protocol(name)
    archives, root = tmp_path / 'archives', tmp_path / 'data'
    archives.mkdir()
    root.mkdir()
    provide(protocol.data, archives, root)
    assert prepare(protocol.data, root, archives=archives, partial=True).good
    place = ['--data-root', str(root), '--out', str(tmp_path / 'out'), '--work-dir', str(tmp_path / 'logs')]
    options = ['--cfg-options', 'model.fusion.base_power=0.6667', 'model.test_cfg.seen_penalty=0']
    assert run_testing([*trained, '--protocol', name, *place, *options]) == 0
    result = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert all(math.isfinite(result['figures'][figure]) for figure in protocol.headline)
    assert result['pictures'] == 2
    asked_for = json.loads((tmp_path / 'out' / 'predictions' / 'request.json').read_text())['words']['words']
    assert tuple(asked_for) == Vocabulary.build(protocol.parts[0].words).words
    assert len(asked_for) == result['vocabulary']['']['words'] == PROTOCOLS[name]
