"""mmengine's runner, with whole checkpoints and with processes on machines without GPUs."""

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import master_only
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint
from torch import nn
from torch.utils.data import DataLoader

from vlm_dense.checkpoints import install
from vlm_dense.checkpoints.coverage import detector_weights
from vlm_dense.engine import recomputing
from vlm_dense.engine.config_check import check_config
from vlm_dense.engine.loading import fill_model
from vlm_dense.engine.pipelines import last_name
from vlm_dense.engine.processes import join_cpu_processes
from vlm_dense.engine.resuming import newest_checkpoint, seed_of
from vlm_dense.engine.seeding import seed_samples
from vlm_dense.engine.settings import check_float16
from vlm_dense.engine.sharding import ShardedDataParallel, answering_whole, is_sharded, parts_of_optimizer
from vlm_dense.engine.sync_norms import sync_norms_for_cpu, sync_plain_norms
from vlm_dense.errors import ConfigError, StorageError

PART = '.part'
DRAWING_HOOKS = ('DetVisualizationHook', 'SegVisualizationHook')
OWN_HOOKS = ('MeanLossHook', 'RequestWordsHook', 'StepSeedHook')
# Losses are averaged before mmengine's own hooks of priority VERY_HIGH read them.
OWN_PRIORITY = 'HIGHEST'


class WholeRunner(Runner):
    """mmengine's ``Runner``; a checkpoint appears under its name only when all of it is on the disk."""

    _evaluates = False

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build as mmengine does; every sample is transformed with random numbers of its own, see `SeededBatches`."""
        return seed_samples(Runner.build_dataloader(dataloader, seed, diff_rank_seed), seed)

    def train(self) -> nn.Module:
        """Train; a model that is to be shared out among the processes is initialised first.

        Raises:
            ConfigError: If an ``EMAHook`` would copy such a model, or float16 is asked for without a GPU.
        """
        if isinstance(self.optim_wrapper, dict) and last_name(self.optim_wrapper) == 'AmpOptimWrapper':
            check_float16()
        if isinstance(self.model, ShardedDataParallel):
            for hook in self.hooks:
                if isinstance(hook, EMAHook):
                    raise ConfigError(
                        'EMAHook copies the model, which vlm_dense.ShardedDataParallel shares out among the processes; '
                        'remove one of the two.'
                    )
            super()._init_model_weights()
            self.model.shard()
        return super().train()

    def _init_model_weights(self) -> None:
        if not is_sharded(self.model):
            super()._init_model_weights()

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Write to a file beside the final one, then rename; a model that is shared out is written whole.

        All processes have to call it; the first one writes. Remote storage is left to mmengine, whose clients decide
        what a half-finished upload is.

        Raises:
            StorageError: If the checkpoint cannot be written.
        """
        with ExitStack() as stack:
            if is_sharded(self.model):
                stack.enter_context(answering_whole(self.model.module))
                stack.enter_context(answering_whole(self.optim_wrapper))
            self._write_checkpoint(out_dir, filename, *args, **kwargs)

    @master_only
    def _write_checkpoint(
        self, out_dir: str, filename: str, file_client_args: dict | None = None, **kwargs: Any
    ) -> None:
        if file_client_args is not None or kwargs.get('backend_args') or '://' in str(out_dir):
            super().save_checkpoint(out_dir, filename, file_client_args, **kwargs)
            return
        target = Path(out_dir, filename)
        part = target.with_name(filename + PART)
        try:
            super().save_checkpoint(str(out_dir), part.name, **kwargs)
            with part.open('rb+') as written:
                os.fsync(written.fileno())
            part.replace(target)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise StorageError(
                f'cannot write checkpoint {target} ({error}); free some space or choose another --work-dir.'
            ) from error

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = 'cpu',
        strict: bool = False,
        revise_keys: list = [(r'^module.', '')],  # noqa: B006  mmengine's signature
    ) -> dict:
        """Fill the model; to test or to resume, all of its parameters.

        Raises:
            CheckpointError: If the checkpoint is another model's, or cannot be read.
            MissingFileError: If it is not there.
        """
        checkpoint = _load_checkpoint(filename, map_location=map_location)
        # Hooks that keep weights of their own, averages among them, read this key and these names.
        model = self.model.module if is_model_wrapper(self.model) else self.model
        checkpoint['state_dict'] = detector_weights(checkpoint, dict(model.named_parameters()))
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        fill_model(model, checkpoint, f"'{filename}'", strict or self._resume or self._evaluates, revise_keys)
        if self._resume and is_sharded(model):
            groups = self.optim_wrapper.optimizer.param_groups
            checkpoint['optimizer'] = parts_of_optimizer(
                checkpoint['optimizer'], [parameter for group in groups for parameter in group['params']]
            )
        self._has_loaded = True
        return checkpoint

    def val(self) -> dict:
        """Evaluate on the validation set."""
        self._evaluates = True
        return super().val()

    def test(self) -> dict:
        """Evaluate on the test set."""
        self._evaluates = True
        return super().test()

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap as mmengine does; on CPU without device ids, and with batch norms that a gloo group can synchronise.

        ``sync_bn='torch'`` in the config synchronises plain batch norms that are trained, see `sync_plain_norms`.

        A model in which nothing learns stays as it is: there is nothing to average, and torch refuses to wrap it.
        """
        if not self.distributed or is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return model.to(get_device())
        asked = self.cfg.get('sync_bn')
        if asked == 'torch':
            model, self.cfg.sync_bn = sync_plain_norms(model), None
        if get_device() == 'cpu':
            model = sync_norms_for_cpu(model)
        if get_device() == 'cpu' and not _shares_out(model_wrapper_cfg):
            defaults = {
                'broadcast_buffers': False,
                'find_unused_parameters': self.cfg.get('find_unused_parameters', False),
            }
            model_wrapper_cfg = {**defaults, **(model_wrapper_cfg or {}), 'device_ids': None}
        wrapped = super().wrap_model(model_wrapper_cfg, model)
        if asked == 'torch':
            self.cfg.sync_bn = asked
        return wrapped


def build_runner(cfg: Config) -> Runner:
    """Check a config, join the processes and build the runner; the tools and the tests all start here.

    Sets hooks of this package: losses are logged as the mean over all processes, outdated checkpoints go after
    their successor is written, a checkpoint of another model is refused, drawings show the caller's words, random
    numbers depend on the seed and the step alone, a resumed run passes over what it has seen.
    ``cfg.resume`` without ``cfg.load_from`` takes the newest whole checkpoint of ``cfg.work_dir``, or starts anew.

    Args:
        cfg: A config with ``work_dir``.

    Raises:
        ConfigError: If the config cannot be built.
        StorageError: If the work folder cannot be made.
    """
    check_config(cfg)
    install()
    recomputing.install()
    # mmengine writes the config into the log, the run's folder and every checkpoint. Its own text is readable;
    # formatting it anew each time, with yapf, takes seconds for a large one.
    object.__setattr__(cfg, '_format_python_code', False)
    _make_work_dir(cfg)
    _add_hooks(cfg)
    if cfg.get('resume') and cfg.get('load_from') is None:
        cfg.load_from = newest_checkpoint(cfg.work_dir)
        cfg.resume = cfg.load_from is not None
    if cfg.get('resume'):
        _keep_seed(cfg)
    launcher = cfg.get('launcher', 'none')
    join_cpu_processes(launcher, cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout'))
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    try:
        return WholeRunner.from_cfg(cfg)
    except KeyError as error:
        raise ConfigError(f'{cfg.filename or "the config"} lacks the setting {error}; add it.') from error


def _shares_out(model_wrapper_cfg: dict | None) -> bool:
    return last_name(model_wrapper_cfg or {}) == ShardedDataParallel.__name__


def _make_work_dir(cfg: Config) -> None:
    try:
        Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f'cannot make the work folder {cfg.work_dir} ({error}); choose another --work-dir.'
        ) from error


def _keep_seed(cfg: Config) -> None:
    """mmengine learns the seed of a resumed run after it has built the sampler."""
    randomness = dict(cfg.get('randomness') or {})
    if randomness.get('seed') is None:
        cfg.randomness = {**randomness, 'seed': seed_of(cfg.load_from)}


def _add_hooks(cfg: Config) -> None:
    present = {last_name(hook) for hook in cfg.get('custom_hooks') or []}
    wanted = [dict(type=f'vlm_dense.{name}', priority=OWN_PRIORITY) for name in OWN_HOOKS]
    wanted.append(dict(type='vlm_dense.SkipSeenBatchesHook'))
    added = [hook for hook in wanted if last_name(hook) not in present]
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *added]
    hooks = dict(cfg.get('default_hooks') or {})
    checkpoint = hooks.get('checkpoint') or dict(type='CheckpointHook')
    if checkpoint.get('type') in ('CheckpointHook', 'mmengine.CheckpointHook'):
        hooks['checkpoint'] = dict(checkpoint, type='vlm_dense.SafeCheckpointHook')
    drawing = hooks.get('visualization') or {}
    if last_name(drawing) in DRAWING_HOOKS and not drawing.get('draw'):
        # It would do nothing, and mmseg's warns that it does nothing.
        del hooks['visualization']
    cfg.default_hooks = hooks
