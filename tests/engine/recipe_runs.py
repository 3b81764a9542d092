"""A recipe of configs/, shrunk, as runs in one process and in several with the same global batch."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from recipes import tiny_recipe
from tiny_runs import unique_name

STEPS, GLOBAL_BATCH = 20, 4
RATES = ('dropout', 'dropout_ratio', 'drop_path_rate', 'drop_rate', 'attn_drop_rate')


def recipe_run(name: str, root: Path, work_dir: Path, processes: int, **model: Any) -> Config:
    """A run of 20 steps whose losses do not depend on the number of processes, as far as that is the recipe's.

    The pipeline stays, with all that is random in it. Dropout, which draws other numbers in every process, is off, and
    regions are taken evenly instead of at random.

    Args:
        name: File in configs/.
        root: Folder of the data, see ``recipe_data``.
        work_dir: Of the run.
        processes: How many share a batch of 4.
        model: Settings of the model to override, dots as ``__``.
    """
    cfg = tiny_recipe(name, root)
    cfg.merge_from_dict({f'model.{key.replace("__", ".")}': value for key, value in model.items()})
    without_chance(cfg.model)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=STEPS, val_interval=10 * STEPS)
    for part in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg.pop(part, None)
    loader = cfg.train_dataloader
    loader.update(batch_size=GLOBAL_BATCH // processes, num_workers=0, persistent_workers=False)
    if loader.sampler.type != 'vlm_dense.WeightedMix':  # which draws without end, too
        loader.sampler = dict(type='InfiniteSampler', shuffle=True)
    loader.pop('batch_sampler', None)
    cfg.default_hooks.update(
        logger=dict(type='LoggerHook', interval=1),
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=STEPS),
    )
    cfg.log_processor = dict(by_epoch=False, window_size=1)
    cfg.param_scheduler = [one for one in cfg.param_scheduler if not one.get('by_epoch', True)]
    cfg.randomness = dict(seed=1)
    cfg.sync_bn = 'torch'
    cfg.launcher = 'none' if processes == 1 else 'pytorch'
    cfg.work_dir, cfg.experiment_name, cfg.log_level = str(work_dir), unique_name(), 'WARNING'
    # Of one name there is one in a process, which goes on writing where it began.
    cfg.visualizer.name = cfg.experiment_name
    cfg.config_check = False
    return cfg


def without_chance(settings: Any) -> None:
    """Turn dropout off and take the regions of a batch evenly, wherever a model's settings name either."""
    if isinstance(settings, list | tuple):
        for entry in settings:
            without_chance(entry)
    if not isinstance(settings, dict):
        return
    settings.update({key: 0.0 for key in RATES if key in settings})
    if settings.get('type') == 'RandomSampler':
        settings['type'] = 'EvenSampler'
    for value in settings.values():
        without_chance(value)
