"""Mixed precision, accumulation, checkpointing and sharding change what a training needs, not what it computes."""

import math

import pytest
import torch
from tiny_runs import config, evaluate, in_processes, logged, train

from vlm_dense.engine.command_line import run_training
from vlm_dense.errors import ConfigError

ADAM = dict(_delete_=True, type='AdamW', lr=1e-3)
SHARDED = dict(
    launcher='pytorch',
    train_dataloader__batch_size=2,
    model_wrapper_cfg=dict(type='vlm_dense.ShardedDataParallel', blocks=['BasicBlock']),
)


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max((weight.double() - other[name].double()).abs().max().item() for name, weight in one.items())


def saved(path):
    return torch.load(path, weights_only=False)['state_dict']


@pytest.mark.parametrize('name', ['detector', 'segmentor'])
def test_bfloat16_losses_are_near_those_of_float32(name, pictures, tmp_path):
    rows = []
    for wrapper in ('OptimWrapper', 'vlm_dense.Bfloat16OptimWrapper'):
        work_dir = tmp_path / wrapper
        weights = train(config(pictures / f'{name}.py', work_dir, optim_wrapper__type=wrapper))
        assert all(weight.dtype != torch.bfloat16 for weight in weights.values())
        rows.append(logged(work_dir))
    exact, rough = rows
    assert all(math.isfinite(value) for row in rough for value in row.values())
    # bfloat16 keeps 8 bits; which regions are sampled depends on the scores, and the steps add up.
    assert rough[0]['loss'] == pytest.approx(exact[0]['loss'], rel=0.05)
    assert rough[0]['loss'] != exact[0]['loss']
    assert rough[-1]['loss'] == pytest.approx(exact[-1]['loss'], rel=0.25)


def test_amp_of_the_command_line(pictures, tmp_path):
    arguments = [str(pictures / 'segmentor.py'), '--work-dir', str(tmp_path), '--amp', 'bfloat16', '--debug']
    in_processes(run_training, [*arguments, '--cfg-options', 'train_cfg.max_iters=1'])
    assert "type='vlm_dense.Bfloat16OptimWrapper'" in (tmp_path / 'segmentor.py').read_text()
    assert logged(tmp_path)[0]['loss'] > 0


def test_accumulated_halves_of_a_batch_update_as_the_whole(pictures, tmp_path):
    """For a loss that is a mean over the pictures, and without norms over the batch."""
    text = (pictures / 'segmentor.py').read_text()
    text = text.replace("norm = dict(type='SyncBN', requires_grad=True)", "norm = dict(type='GN', num_groups=4)")
    (tmp_path / 'group.py').write_text(text)
    common = dict(param_scheduler=[], randomness__seed=3)
    whole = train(config(tmp_path / 'group.py', tmp_path / 'whole', train_cfg__max_iters=3, **common))
    halves = dict(train_dataloader__batch_size=2, optim_wrapper__accumulative_counts=2, train_cfg__max_iters=6)
    parts = train(config(tmp_path / 'group.py', tmp_path / 'parts', **halves, **common))
    assert largest_difference(whole, parts) < 1e-6
    steps, micro_steps = logged(tmp_path / 'whole'), logged(tmp_path / 'parts')
    for step, row in enumerate(steps):
        two = micro_steps[2 * step : 2 * step + 2]
        assert row['loss'] == pytest.approx(sum(one['loss'] for one in two) / 2, abs=1e-5)


@pytest.mark.parametrize('how', [dict(model__backbone__with_cp=True), dict(activation_checkpointing=['backbone'])])
def test_recomputed_activations_give_the_same_losses_and_weights(how, pictures, tmp_path):
    plain = train(config(pictures / 'segmentor.py', tmp_path / 'plain'))
    recomputed = train(config(pictures / 'segmentor.py', tmp_path / 'recomputed', **how))
    assert logged(tmp_path / 'recomputed') == logged(tmp_path / 'plain')
    # The running statistics of norms inside are updated twice.
    learned = [name for name in plain if 'running' not in name and 'num_batches' not in name]
    assert all(torch.equal(recomputed[name], plain[name]) for name in learned)


def test_an_unknown_module_to_recompute_is_named(pictures, tmp_path):
    with pytest.raises(ConfigError, match=r"activation_checkpointing.*no module 'backbon'"):
        train(config(pictures / 'segmentor.py', tmp_path, activation_checkpointing=['backbon']))


def learns_a_scalar(pictures, folder):
    """A detector with a parameter without axes, frozen ones, and learning rates by the parameters' names."""
    old = "classifier=dict(type='vlm_dense.EmbeddingClassifier', temperature=0.1)"
    text = (pictures / 'detector.py').read_text()
    assert old in text
    path = folder / 'scalar.py'
    path.write_text(text.replace(old, old.replace('0.1)', '0.1, learn_temperature=True)')))
    keys = {'backbone.layer2.0': dict(lr_mult=0.1), 'temperature': dict(lr_mult=10)}
    options = dict(model__backbone__frozen_stages=1, optim_wrapper__optimizer=ADAM)
    return path, dict(options, optim_wrapper__paramwise_cfg=dict(custom_keys=keys))


def test_sharded_processes_train_resume_and_evaluate_like_one(pictures, tmp_path):
    path, options = learns_a_scalar(pictures, tmp_path)
    in_processes(train, config(path, tmp_path / 'one', **options))
    in_processes(train, config(path, tmp_path / 'two', **options, **SHARDED), world_size=2)
    assert len(logged(tmp_path / 'one')) == 6
    for row, other in zip(logged(tmp_path / 'one'), logged(tmp_path / 'two'), strict=True):
        assert other == pytest.approx(row, abs=1e-4)
    one, two = (saved(tmp_path / name / 'iter_6.pth') for name in ('one', 'two'))
    assert largest_difference(one, two) < 1e-5
    scalar = [name for name, weight in one.items() if weight.dim() == 0 and 'num_batches' not in name]
    assert len(scalar) == 1

    # Its checkpoints are whole: one process goes on with them, two processes go on with that of one.
    again = dict(resume=True, load_from=str(tmp_path / 'two' / 'iter_4.pth'), **options)
    in_processes(train, config(path, tmp_path / 'on_in_one', **again))
    assert largest_difference(saved(tmp_path / 'on_in_one' / 'iter_6.pth'), one) < 1e-5
    again['load_from'] = str(tmp_path / 'one' / 'iter_4.pth')
    in_processes(train, config(path, tmp_path / 'on_in_two', **again, **SHARDED), world_size=2)
    assert largest_difference(saved(tmp_path / 'on_in_two' / 'iter_6.pth'), one) < 1e-5

    trained = dict(load_from=str(tmp_path / 'two' / 'iter_6.pth'))
    alone = in_processes(evaluate, config(path, tmp_path / 'test_one', **trained))
    both = in_processes(evaluate, config(path, tmp_path / 'test_two', **trained, **SHARDED), world_size=2)
    assert both == pytest.approx(alone, abs=1e-6, nan_ok=True)


def test_sharded_in_bfloat16_with_accumulation_and_recomputation(pictures, tmp_path):
    options = dict(
        optim_wrapper__type='vlm_dense.Bfloat16OptimWrapper',
        optim_wrapper__accumulative_counts=2,
        activation_checkpointing=['backbone'],
    )
    one = config(pictures / 'segmentor.py', tmp_path / 'one', **options)
    in_processes(train, one)
    in_processes(train, config(pictures / 'segmentor.py', tmp_path / 'two', **options, **SHARDED), world_size=2)
    for row, other in zip(logged(tmp_path / 'one'), logged(tmp_path / 'two'), strict=True):
        assert other == pytest.approx(row, abs=1e-2)


def _refused(cfg):
    with pytest.raises(ConfigError) as caught:
        train(cfg)
    return str(caught.value)


def test_what_cannot_be_sharded_is_named(pictures, tmp_path):
    unknown = dict(SHARDED, model_wrapper_cfg=dict(type='vlm_dense.ShardedDataParallel', blocks=['SwinBlok']))
    said = in_processes(_refused, config(pictures / 'segmentor.py', tmp_path, **unknown), world_size=2)
    assert "no module of class 'SwinBlok'" in said
    averaged = dict(SHARDED, custom_hooks=[dict(type='EMAHook')])
    said = in_processes(_refused, config(pictures / 'segmentor.py', tmp_path, **averaged), world_size=2)
    assert 'EMAHook copies the model' in said
