"""tools/precompute_regions.py: whole, shared, killed and repeated runs, and training from what they wrote."""

import importlib.util
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from tiny_runs import DETECTOR, NUM_PICTURES, config, logged, train, write_config, write_pictures
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models.branches import CropTeacher
from vlm_dense.registry import MODELS
from vlm_dense.vlms import ImageTower

TOOL = Path(__file__).parents[2] / 'tools' / 'precompute_regions.py'
BRANCH = """
model['roi_head']['bbox_head']['distill'] = 'separate'
model['branches'] = dict(image=dict(
    type='vlm_dense.DistillRegions', max_regions=3,
    teacher=dict(tower=dict(type='vlm_dense.SlowTower'), size=32, bank='DATA/bank'), proposals='bank',
))
"""


@MODELS.register_module()
class SlowTower(ImageTower):
    """One convolution with the same weights every time; slow where the environment says so."""

    embed_dim, mean, std, input_size, fingerprint = 16, (90.0,) * 3, (60.0,) * 3, 32, 'slow'

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.conv = nn.Conv2d(3, 16, 32, bias=False)
        self.conv.weight.data.normal_(generator=generator)

    def embed_images(self, images_B3HW: Tensor) -> Tensor:
        time.sleep(float(os.environ.get('TOWER_SECONDS', 0)))
        return functional.normalize(self.conv(images_B3HW).flatten(1), dim=1)


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('precompute_regions', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with DefaultScope.overwrite_default_scope(None):
        yield module.main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path)
    write_config(tmp_path, 'run', DETECTOR + BRANCH)
    return tmp_path


def contents(folder: Path) -> dict[str, list]:
    """By picture: boxes and embeddings, in order of the boxes."""
    bank = CropTeacher(dict(type='vlm_dense.SlowTower'), size=32, bank=str(folder / 'bank')).bank
    found = {}
    for number in range(NUM_PICTURES):
        regions = bank.regions(str(folder / f'images/{number}.png'))
        table = torch.cat(list(regions), dim=1).tolist()
        found[f'{number}.png'] = sorted(table)
    return found


def files(folder: Path) -> set[Path]:
    return set((folder / 'bank').rglob('*.safetensors'))


def start(tool, environment: dict[str, str], *arguments: str) -> multiprocessing.Process:
    def run() -> None:
        os.environ.update(environment)
        torch.set_num_threads(1)
        tool(arguments)

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    return process


def test_annotated_boxes_of_every_picture(tool, folder: Path, capsys: pytest.CaptureFixture) -> None:
    tool([str(folder / 'run.py')])
    truth = json.loads((folder / 'boxes.json').read_text())['annotations']
    for name, found in contents(folder).items():
        boxes = [a['bbox'] for a in truth if f'{a["image_id"]}.png' == name]
        expected = [[x, y, min(x + w, 64), min(y + h, 64)] for x, y, w, h in boxes]
        np.testing.assert_allclose([row[:4] for row in found], sorted(expected))
    written = files(folder)
    assert f'{2 * NUM_PICTURES} regions of {NUM_PICTURES} pictures computed' in capsys.readouterr().out
    tool([str(folder / 'run.py')])
    assert '0 regions of 0 pictures computed, 9 pictures were done' in capsys.readouterr().out
    assert files(folder) == written


@pytest.mark.parametrize('world_size', [2, 4])
def test_any_number_of_processes_goes_on_after_a_kill(tool, folder: Path, world_size: int) -> None:
    arguments = [str(folder / 'run.py'), '--save-every', '2']
    tool(arguments)
    expected = contents(folder)
    for path in files(folder):
        path.unlink()
    places = [dict(RANK=str(rank), WORLD_SIZE=str(world_size)) for rank in range(world_size)]
    slow = [start(tool, dict(place, TOWER_SECONDS='0.3'), *arguments) for place in places]
    while not files(folder) and all(process.is_alive() for process in slow):
        time.sleep(0.01)
    for process in slow:
        process.kill()
        process.join()
    assert any(process.exitcode == -signal.SIGKILL for process in slow)
    survived = files(folder)
    # Another number of processes, and one file damaged since.
    damaged = min(survived)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    rest = [start(tool, dict(RANK=str(rank), WORLD_SIZE='3'), *arguments) for rank in range(3)]
    for process in rest:
        process.join()
        assert process.exitcode == 0
    assert survived - {damaged} <= files(folder)
    found = contents(folder)
    for name, rows in expected.items():
        np.testing.assert_allclose(found[name], rows, rtol=0, atol=1e-6)


def test_proposals_come_after_the_annotated_boxes(tool, folder: Path) -> None:
    extra = {'3.png': [[1.5, 2.5, 30, 40], [-4, 0, 20, 20], [5, 5, 5, 9]], 'images/4.png': [[0, 0, 64, 64]]}
    (folder / 'proposals.json').write_text(json.dumps(extra))
    np.savez(folder / 'proposals.npz', **{name: np.array(boxes, 'f4') for name, boxes in extra.items()})
    tool([str(folder / 'run.py')])
    before = contents(folder)
    tool([str(folder / 'run.py'), '--proposals', str(folder / 'proposals.json')])
    found = contents(folder)
    boxes = [row[:4] for row in found['3.png'] if row not in before['3.png']]
    assert boxes == [[0, 0, 20, 20], [1.5, 2.5, 30, 40]]
    assert len(found['4.png']) == 3
    assert found['5.png'] == before['5.png']
    written = files(folder)
    tool([str(folder / 'run.py'), '--proposals', str(folder / 'proposals.npz'), '--no-truth'])
    assert files(folder) == written


def test_training_logs_the_losses_of_the_online_teacher(tool, folder: Path) -> None:
    tool([str(folder / 'run.py')])
    options: dict = dict(train_cfg__max_iters=3)
    with torch.random.fork_rng():
        from_bank = train(config(folder / 'run.py', folder / 'stored', **options))
    # The bank names the regions; the tower embeds them.
    lookup, CropTeacher.forward = CropTeacher.forward, lambda self, *given: self.compute(*given[:3])
    try:
        options['model__branches__image__teacher__missing'] = 'compute'  # keeps the tower
        online = train(config(folder / 'run.py', folder / 'online', **options))
    finally:
        CropTeacher.forward = lookup
    for stored, computed in zip(logged(folder / 'stored'), logged(folder / 'online'), strict=True):
        assert stored.keys() == computed.keys() >= {'image.loss_distill'}
        for name, value in computed.items():
            assert stored[name] == pytest.approx(value, rel=1e-6, abs=1e-6)
    for name, weight in online.items():
        torch.testing.assert_close(from_bank[name], weight, rtol=1e-5, atol=1e-6)


def test_users_errors(tool, folder: Path) -> None:
    run = str(folder / 'run.py')
    with pytest.raises(ConfigError, match='has a bank'):
        tool(
            [run, '--cfg-options', 'model.branches.image.teacher.bank=None', 'model.branches.image.proposals=detector']
        )
    (folder / 'wrong.json').write_text('{"77.png": [[0, 0, 1, 1]]}')
    with pytest.raises(DataError, match=r"training set lacks, such as '77\.png'"):
        tool([run, '--proposals', str(folder / 'wrong.json')])
    (folder / 'wrong.json').write_text('{"3.png": [[0, 0, 1]]}')
    with pytest.raises(DataError, match=r"'3\.png' are not rows of four"):
        tool([run, '--proposals', str(folder / 'wrong.json')])
    (folder / 'images/2.png').write_bytes((folder / 'images/2.png').read_bytes()[:900])
    with pytest.raises(DataError, match=r'2\.png cannot be decoded'):
        tool([run, '--cfg-options', 'train_dataloader.dataset.pipeline.0.imdecode_backend=pillow'])
