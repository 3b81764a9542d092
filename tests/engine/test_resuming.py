"""A run that was killed goes on where its newest whole checkpoint left it."""

import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from tiny_runs import DETECTOR, config, in_processes, train, write_config
from torch.multiprocessing.spawn import ProcessExitedException

from vlm_dense.engine.resuming import is_whole, newest_checkpoint
from vlm_dense.engine.runner import WholeRunner
from vlm_dense.errors import CheckpointError, StorageError

NAME = 'detector'
MIXED = """
one = train_dataloader['dataset']
train_dataloader.update(
    dataset=dict(type='ConcatDataset', datasets=[dict(one, indices=4), dict(one, indices=[4, 5, 6, 7, 8])]),
    sampler=dict(type='vlm_dense.WeightedMix', weights=[1, 3]),
)
"""


def _train_and_die_saving(cfg, which):
    """Killed by the system half-way through writing the given checkpoint."""
    put = LocalBackend.put

    def put_half(self, data, path):
        if which in str(path):
            with open(path, 'wb') as file:
                file.write(data[: len(data) // 2])
                file.flush()
                os.fsync(file.fileno())
            os.kill(os.getpid(), signal.SIGKILL)
        put(self, data, path)

    LocalBackend.put = put_half
    return train(cfg)


def _train_counting(cfg, noted):
    """Write down how many training pictures were loaded."""
    prepare, loaded = BaseDataset.prepare_data, []

    def count(self, idx):
        loaded.extend([] if self.test_mode else [idx])
        return prepare(self, idx)

    BaseDataset.prepare_data = count
    weights = train(cfg)
    noted.write_text(str(len(loaded)))
    return weights


@pytest.fixture(scope='module')
def uninterrupted(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    return in_processes(train, config(pictures / f'{NAME}.py', folder))


@pytest.mark.parametrize('keep', [1, 3])
def test_killed_while_saving_then_resumed_equals_uninterrupted(keep, pictures, tmp_path, uninterrupted):
    options = dict(default_hooks__checkpoint__max_keep_ckpts=keep)
    with pytest.raises(ProcessExitedException, match='SIGKILL'):
        in_processes(_train_and_die_saving, config(pictures / f'{NAME}.py', tmp_path, **options), 'iter_4')
    assert [file.name for file in sorted(tmp_path.glob('*.pth'))] == ['iter_2.pth']
    assert (tmp_path / 'iter_4.pth.part').stat().st_size > 0
    assert newest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')

    resumed = in_processes(train, config(pictures / f'{NAME}.py', tmp_path, resume=True, **options))
    for name, weight in uninterrupted.items():
        assert torch.equal(resumed[name], weight), name
    left = [f'iter_{step}.pth' for step in (2, 4, 6)][-keep:]
    assert [file.name for file in sorted(tmp_path.glob('*.pth*'))] == left


def test_a_weighted_mix_goes_on_where_it_was(pictures, tmp_path):
    path = write_config(pictures, 'mixed', DETECTOR + MIXED)
    noted = tmp_path / 'loaded'
    whole = in_processes(_train_counting, config(path, tmp_path / 'whole'), noted)
    of_all_steps = int(noted.read_text())
    with pytest.raises(ProcessExitedException, match='SIGKILL'):
        in_processes(_train_and_die_saving, config(path, tmp_path / 'killed'), 'iter_4')
    resumed = in_processes(_train_counting, config(path, tmp_path / 'killed', resume=True), noted)
    assert 0 < int(noted.read_text()) * 6 == of_all_steps * 4, 'the two steps that were made are not loaded again'
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())


def test_without_whole_writing_the_half_checkpoint_would_stand_in_place(pictures, tmp_path, monkeypatch):
    """What mmengine alone does, so that this package's remedy stays needed and tested."""
    monkeypatch.delattr(WholeRunner, 'save_checkpoint')
    with pytest.raises(ProcessExitedException):
        in_processes(_train_and_die_saving, config(pictures / f'{NAME}.py', tmp_path), 'iter_4')
    assert (tmp_path / 'iter_4.pth').is_file()
    assert not is_whole(tmp_path / 'iter_4.pth')
    # A half file of whatever origin is passed over, also where last_checkpoint names it.
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_4.pth'))
    assert newest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')
    resume = config(pictures / f'{NAME}.py', tmp_path, resume=True, load_from=str(tmp_path / 'iter_4.pth'))
    with pytest.raises(CheckpointError, match=r'iter_4\.pth.*cannot be read'):
        train(resume)


def test_where_the_newest_checkpoint_is_looked_for(tmp_path):
    assert newest_checkpoint(str(tmp_path)) is None
    torch.save({}, tmp_path / 'iter_10.pth')
    torch.save({}, tmp_path / 'iter_9.pth')
    torch.save({}, tmp_path / 'best_all_ap50_iter_20.pth')
    assert newest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_10.pth')
    (tmp_path / 'last_checkpoint').write_text('')
    assert newest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_10.pth')
    (tmp_path / 'last_checkpoint').write_text('/moved/away/iter_9.pth\n')
    assert newest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_9.pth')


def test_resume_without_a_checkpoint_starts_anew(pictures, tmp_path, uninterrupted):
    started = in_processes(train, config(pictures / f'{NAME}.py', tmp_path, resume=True))
    assert all(torch.equal(started[name], weight) for name, weight in uninterrupted.items())


def test_a_full_disk_is_one_clear_error(pictures, tmp_path, monkeypatch):
    def put(self, data, path):
        Path(path).write_bytes(data[:100])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(LocalBackend, 'put', put)
    with pytest.raises(StorageError, match=r'iter_2\.pth.*No space left.*free some space'):
        train(config(pictures / f'{NAME}.py', tmp_path, train_cfg__max_iters=2))
    assert not list(tmp_path.glob('*.pth*'))


def _always_better_and_die(cfg):
    CheckpointHook.rule_map = {'greater': lambda new, old: True}
    return _train_and_die_saving(cfg, 'best_all_ap_iter_4')


def test_the_best_checkpoint_outlives_the_writing_of_its_successor(pictures, tmp_path):
    options = dict(
        train_cfg__val_begin=0,
        train_cfg__val_interval=2,
        default_hooks__checkpoint__save_best='all_ap',
        default_hooks__checkpoint__rule='greater',
        default_hooks__checkpoint__interval=100,
    )
    with pytest.raises(ProcessExitedException, match='SIGKILL'):
        in_processes(_always_better_and_die, config(pictures / f'{NAME}.py', tmp_path, **options))
    assert [file.name for file in tmp_path.glob('best*.pth')] == ['best_all_ap_iter_2.pth']
    assert is_whole(tmp_path / 'best_all_ap_iter_2.pth')
