"""What the command line changes in a config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from vlm_dense.engine.config_check import check_options
from vlm_dense.engine.pipelines import attaching_steps, last_name
from vlm_dense.engine.processes import has_accelerator
from vlm_dense.errors import ConfigError, MissingFileError
from vlm_dense.text.vocabulary import Vocabulary, normalise_word

LOOPS = {
    'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}
WRAPPERS = ('OptimWrapper', 'AmpOptimWrapper', 'vlm_dense.Bfloat16OptimWrapper')


def read_config(path: str, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config and override settings.

    Args:
        path: The config file.
        options: Overrides, keys with dots.

    Raises:
        MissingFileError: If the file, or one that it inherits from, is not there.
        ConfigError: If it cannot be read, or an override has no effect.
    """
    if not Path(path).is_file():
        raise MissingFileError(f'config {path} does not exist; the recipes lie in configs/.')
    try:
        cfg = Config.fromfile(path)
        if options:
            check_options(options)
            cfg.merge_from_dict(dict(options))
    except ConfigError:
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f'{path}: {_first_line(error)}; correct _base_ or the file named there.') from error
    # A config is code: whatever it raises is a fault in it.
    except Exception as error:
        cause = error.__cause__ or error
        raise ConfigError(f'{path} cannot be read: {type(cause).__name__}: {_first_line(cause)}') from error
    return cfg


def check_sections(cfg: Config, needed: str) -> None:
    """Refuse a config of which a loop is only half described.

    Args:
        cfg: The config.
        needed: The loop that is about to run: 'train' or 'test'.

    Raises:
        ConfigError: If a part of this loop, or of another one that is begun, is missing.
    """
    for loop, parts in LOOPS.items():
        missing = [part for part in parts if cfg.get(part) is None]
        if missing and (loop == needed or len(missing) < len(parts)):
            raise ConfigError(
                f'{cfg.filename or "the config"} lacks {" and ".join(missing)}, without which it cannot {loop}; '
                f'a {loop} loop takes {", ".join(parts)}.'
            )


def check_checkpoint(cfg: Config, checkpoint: str | None) -> None:
    """Refuse to test a recipe that is trained without what it was trained to.

    Raises:
        ConfigError: If there is no checkpoint and the config describes a training.
    """
    if checkpoint is None and any(cfg.get(part) is not None for part in LOOPS['train']):
        raise ConfigError(
            f'{cfg.filename or "the config"} describes a training, so that a test needs its checkpoint; '
            'write the path of the checkpoint after the config.'
        )


def set_work_dir(cfg: Config, work_dir: str | None, config_path: str) -> None:
    """The command line's folder, else the config's, else ``./work_dirs/<config name>``."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(config_path).stem))


def set_amp(cfg: Config, dtype: str) -> None:
    """Train with automatic mixed precision.

    Args:
        cfg: The config.
        dtype: 'float16' with scaled losses, on GPUs, or 'bfloat16' without, anywhere.

    Raises:
        ConfigError: If the optimizer wrapper has no such counterpart, or there is only a CPU.
    """
    wrapper = cfg.get('optim_wrapper', {}).get('type', 'OptimWrapper')
    if wrapper not in WRAPPERS:
        raise ConfigError(f"--amp works with {' and '.join(WRAPPERS)}, not with optim_wrapper.type='{wrapper}'.")
    if dtype == 'bfloat16':
        cfg.optim_wrapper.type = 'vlm_dense.Bfloat16OptimWrapper'
        for key in ('dtype', 'loss_scale', 'use_fsdp'):
            cfg.optim_wrapper.pop(key, None)
        return
    check_float16()
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def check_float16() -> None:
    """Refuse mmengine's mixed precision on a machine without a GPU.

    Raises:
        ConfigError: If there is none.
    """
    if not has_accelerator():
        raise ConfigError(
            'mixed precision in float16 (--amp, AmpOptimWrapper) needs a GPU, and this machine has none; '
            'take --amp bfloat16, or float32 without --amp.'
        )


def set_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the global batch.

    Raises:
        ConfigError: If the config does not say which batch its learning rate is meant for.
    """
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise ConfigError(
            f'--auto-scale-lr: {cfg.filename} does not say which batch its learning rate belongs to; '
            'add auto_scale_lr = dict(enable=False, base_batch_size=...).'
        )
    cfg.auto_scale_lr.enable = True


def set_resume(cfg: Config, resume: str | None) -> None:
    """Go on from a checkpoint, or with 'auto' from the newest whole one of the work folder."""
    if resume is not None:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else resume


def set_drawing(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Draw predictions: in a window, or into a folder below the run's own.

    Raises:
        ConfigError: If the config has no visualization hook.
    """
    if not show and show_dir is None:
        return
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ConfigError(
            '--show and --show-dir need default_hooks.visualization in the config; '
            "add dict(type='DetVisualizationHook') or dict(type='SegVisualizationHook')."
        )
    hook.update(draw=True, show=show)
    if show:
        hook.wait_time = wait_time
    if show_dir is not None and str(hook.type).endswith('DetVisualizationHook'):
        hook.test_out_dir = show_dir
    elif show_dir is not None:
        hook.interval = 1
        cfg.visualizer.save_dir = show_dir


def set_vocabulary(cfg: Config, path: str) -> None:
    """Ask for the words of a file in the test pipeline.

    Words that were base in the config's own test vocabulary stay base, by name; so do those the file itself
    calls base. A metric that needs to know what the labels of the truth mean is told the config's own words.

    Raises:
        ConfigError: If the test pipeline attaches no vocabulary.
        VocabularyError, MissingFileError: If the words cannot be read.
    """
    steps = list(attaching_steps(cfg.get('test_dataloader', {}).get('dataset', {})))
    if not steps:
        raise ConfigError(f'--vocabulary: the test pipeline of {cfg.filename} has no vlm_dense.AttachVocabulary.')
    asked = Vocabulary.build(path)
    for step in steps:
        own = Vocabulary.build(step['vocabulary'])
        known = own.base_keys | asked.base_keys
        base = [word for word in asked.words if normalise_word(word) in known]
        step['vocabulary'] = {**asked.as_spec(), 'base': base}
        for metric in metrics_of(cfg.test_evaluator):
            if last_name(metric) == 'SeenUnseenIoUMetric':
                metric.setdefault('words', list(own.words))


def add_predictions_file(cfg: Config, path: str) -> None:
    """Also write the predictions of the test to a JSON file."""
    writer: dict[str, Any] = dict(type='vlm_dense.WritePredictions', out_file=path)
    metrics = metrics_of(cfg.test_evaluator)
    for metric in metrics:
        if last_name(metric) == 'BaseNovelBoxMetric':
            writer['ann_file'] = metric['ann_file']
    cfg.test_evaluator = [*metrics, writer]


def metrics_of(evaluator: Any) -> list[dict]:
    """The metrics of an evaluator section, however it is written."""
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        evaluator = evaluator['metrics']
    return list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
