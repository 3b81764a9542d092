"""One process and two with the same global batch: the same losses, the same weights, the same evaluation."""

import json
from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info, get_rank
from tiny_runs import config, evaluate, in_processes, logged, train

from vlm_dense.engine.command_line import USER_ERROR, _guarded
from vlm_dense.engine.processes import in_first_process, is_first_process, join_cpu_processes, leave_processes
from vlm_dense.engine.runner import WholeRunner
from vlm_dense.errors import ConfigError, DataError


@pytest.mark.parametrize('name', ['detector', 'segmentor'])
def test_two_processes_train_and_evaluate_like_one(name, pictures, tmp_path):
    alone = config(pictures / f'{name}.py', tmp_path / 'one')
    shared = config(pictures / f'{name}.py', tmp_path / 'two', train_dataloader__batch_size=2, launcher='pytorch')
    one = in_processes(train, alone)
    two = in_processes(train, shared, world_size=2)
    losses_one, losses_two = logged(tmp_path / 'one'), logged(tmp_path / 'two')
    assert len(losses_one) == 6
    for step_one, step_two in zip(losses_one, losses_two, strict=True):
        assert step_two == pytest.approx(step_one, abs=1e-4)
    for weight, other in zip(one.values(), two.values(), strict=True):
        assert torch.allclose(weight.double(), other.double(), atol=1e-4)
    assert losses_one[0]['loss'] != pytest.approx(losses_one[5]['loss'], abs=1e-3)

    trained = str(tmp_path / 'one' / 'iter_6.pth')
    figures_one = in_processes(evaluate, config(pictures / f'{name}.py', tmp_path / 'one', load_from=trained))
    # Nine pictures over two processes: the sampler repeats one, which must not count twice.
    figures_two = in_processes(
        evaluate, config(pictures / f'{name}.py', tmp_path / 'two', load_from=trained, launcher='pytorch'), world_size=2
    )
    assert figures_two == pytest.approx(figures_one, abs=0, rel=0, nan_ok=True)
    assert max(figures_one.values()) > 0


def learns_nothing() -> list[str]:
    """Whether each of two models is wrapped, in a group of processes."""
    join_cpu_processes('pytorch')
    runner = object.__new__(WholeRunner)
    runner._distributed, runner.cfg = True, Config()
    kinds = [type(runner.wrap_model(None, torch.nn.Linear(2, 2).requires_grad_(learns))) for learns in (False, True)]
    leave_processes()
    return [kind.__name__ for kind in kinds]


def test_a_model_in_which_nothing_learns_is_not_wrapped():
    assert in_processes(learns_nothing, world_size=2) == ['Linear', 'MMDistributedDataParallel']


def test_plain_norms_are_synchronised_on_request(pictures, tmp_path):
    """mmengine's top-level ``sync_bn``, which turns every batch norm into a synchronised one."""
    text = (pictures / 'segmentor.py').read_text().replace("type='SyncBN'", "type='BN'")
    (tmp_path / 'plain.py').write_text(text)
    options = dict(train_cfg__max_iters=3, sync_bn='torch')
    alone = config(tmp_path / 'plain.py', tmp_path / 'one', **options)
    shared = config(
        tmp_path / 'plain.py', tmp_path / 'two', train_dataloader__batch_size=2, launcher='pytorch', **options
    )
    in_processes(train, alone)
    in_processes(train, shared, world_size=2)
    for step_one, step_two in zip(logged(tmp_path / 'one'), logged(tmp_path / 'two'), strict=True):
        assert step_two == pytest.approx(step_one, abs=1e-4)


def _first_and_all(launcher):
    join_cpu_processes(launcher)
    rank, world_size = get_dist_info()
    assert is_first_process() == (rank == 0)
    total = torch.ones(1)
    torch.distributed.all_reduce(total)
    return (rank, world_size, int(total))


def _error_of_the_first(folder):
    join_cpu_processes('pytorch')
    with pytest.raises(ConfigError, match='told'):
        in_first_process(partial(_refuse, folder))
    torch.distributed.barrier()
    return len(list(folder.iterdir()))


def _refuse(folder):
    (folder / str(get_rank())).touch()
    raise ConfigError('told')


def test_an_error_of_the_first_process_is_everybodys(tmp_path):
    assert in_processes(_error_of_the_first, tmp_path, world_size=2) == 1


def test_an_error_of_any_process_is_printed(tmp_path, capfd):
    in_processes(_fail_in_the_last, world_size=2)
    assert capfd.readouterr().err.count('error: picture 7 is damaged.') == 1


def _fail_in_the_last():
    join_cpu_processes('pytorch')
    last = get_rank() == 1

    def run():
        if last:
            raise DataError('picture 7 is damaged.')

    assert _guarded(run, debug=False) == (USER_ERROR if last else 0)


def test_launchers_without_gpus(monkeypatch):
    for names in (('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'), ('OMPI_COMM_WORLD_RANK',)):
        for name in names:
            monkeypatch.delenv(name, raising=False)
    assert in_processes(_first_and_all, 'pytorch', world_size=2) == (0, 2, 2)
    assert in_processes(_as_slurm, world_size=2) == (0, 2, 2)


def _as_slurm():
    import os

    names = dict(SLURM_PROCID='RANK', SLURM_NTASKS='WORLD_SIZE', SLURM_LOCALID='LOCAL_RANK')
    os.environ.update({slurm: os.environ.pop(torchs) for slurm, torchs in names.items()}, SLURM_NODELIST='here')
    return _first_and_all('slurm')


def test_a_launcher_that_did_not_launch_is_named(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'SLURM_NODELIST'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"launcher pytorch needs .*'RANK'.*dist_train\.sh"):
        join_cpu_processes('pytorch')
    with pytest.raises(ConfigError, match=r"launcher slurm needs .*'SLURM_NODELIST'"):
        join_cpu_processes('slurm')
    with pytest.raises(ConfigError, match="launcher 'slrm' is unknown"):
        join_cpu_processes('slrm')
    join_cpu_processes('none')
    leave_processes()


def test_the_log_keeps_the_losses_of_all_processes(pictures, tmp_path):
    shared = config(
        pictures / 'segmentor.py', tmp_path, launcher='pytorch', train_dataloader__batch_size=1, train_cfg__max_iters=1
    )
    own = in_processes(_train_and_list_losses, shared, world_size=2)
    assert own[0] != own[1]
    assert logged(tmp_path)[0]['loss'] == pytest.approx(sum(own) / 2, abs=1e-5)


def _train_and_list_losses(cfg):
    from mmengine.dist import all_gather_object
    from mmengine.model import BaseModel

    own = []
    parse = BaseModel.parse_losses

    def listen(self, losses):
        parsed = parse(self, losses)
        own.append(float(parsed[0].detach()))
        return parsed

    BaseModel.parse_losses = listen
    train(cfg)
    return [json.loads(one) for one in all_gather_object(json.dumps(own[0]))]
