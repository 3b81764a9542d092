"""What tools/train.py, tools/test.py and tools/score.py share: arguments, and one line for a user's error."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction

from vlm_dense.engine.processes import LAUNCHERS, have_joined, is_first_process, leave_processes
from vlm_dense.engine.runner import build_runner
from vlm_dense.engine.settings import (
    add_predictions_file,
    check_checkpoint,
    check_sections,
    read_config,
    set_amp,
    set_auto_scale_lr,
    set_drawing,
    set_resume,
    set_vocabulary,
    set_work_dir,
)
from vlm_dense.errors import ConfigError, VlmDenseError

USER_ERROR = 2
AMP_TYPES = ('float16', 'bfloat16')
DEBUG_VARIABLE = 'VLM_DENSE_DEBUG'
NO_TTA = (
    "--tta: mmseg's tta_model needs a fixed list of classes and is not read here; to average several sizes of a "
    'picture, mirrored too, call a segmentor with --cfg-options "model.test_cfg.scales=[0.5,1.0,1.5]" '
    'model.test_cfg.flip=True.'
)


def run_training(arguments: Sequence[str] | None = None) -> int:
    """``tools/train.py``: train what a config describes.

    Args:
        arguments: Command line without the program's name; ``sys.argv`` by default.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog='train.py', description='Train what a config describes.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='float16',
        choices=AMP_TYPES,
        help='train with automatic mixed precision: float16 (default) on GPUs, bfloat16 also on CPUs',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without a path from the newest one in the work folder',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the global batch')
    _add_common(parser)
    args = parser.parse_args(arguments)

    def run() -> None:
        cfg = _config(args)
        check_sections(cfg, 'train')
        if args.amp:
            set_amp(cfg, args.amp)
        if args.auto_scale_lr:
            set_auto_scale_lr(cfg)
        set_resume(cfg, args.resume)
        build_runner(cfg).train()

    return _guarded(run, args.debug)


def run_testing(arguments: Sequence[str] | None = None) -> int:
    """``tools/test.py``: evaluate a checkpoint, or a recipe without training; otherwise as `run_training`."""
    parser = argparse.ArgumentParser(prog='test.py', description='Evaluate a checkpoint, or a recipe without training.')
    parser.add_argument('config', help='config file')
    _add_testing(parser)
    _add_common(parser)
    args = parser.parse_args(arguments)

    def run() -> None:
        if args.tta:
            raise ConfigError(NO_TTA)
        cfg = _config(args)
        check_sections(cfg, 'test')
        check_checkpoint(cfg, args.checkpoint)
        cfg.load_from, cfg.resume = args.checkpoint, False
        set_drawing(cfg, args.show, args.show_dir, args.wait_time)
        if args.protocol:
            # Late: protocols bring the data sets, and with them mmdet and mmseg.
            from vlm_dense.engine.protocol_runs import set_protocol
            from vlm_dense.evaluation.protocols import find_protocol

            protocol = find_protocol(args.protocol)
            out = args.out or str(Path(cfg.work_dir, protocol.name))
            set_protocol(cfg, protocol, out, args.data_root, args.vocabulary, args.checkpoint)
        elif args.vocabulary:
            set_vocabulary(cfg, args.vocabulary)
        if args.out and not args.protocol:
            add_predictions_file(cfg, args.out)
        build_runner(cfg).test()

    return _guarded(run, args.debug)


def run_scoring(arguments: Sequence[str] | None = None) -> int:
    """``tools/score.py``: figures from kept predictions, without the model; otherwise as `run_training`."""
    parser = argparse.ArgumentParser(prog='score.py', description='Score the kept predictions of a test by protocol.')
    parser.add_argument('out', metavar='DIR', help='the --out folder of tools/test.py --protocol')
    parser.add_argument('--protocol', metavar='NAME', help='another protocol over the same pictures')
    parser.add_argument('--data-root', default='data', help='folder of all data sets; default: data')
    parser.add_argument('--debug', action='store_true', help='show the traceback of every error')
    args = parser.parse_args(arguments)

    def run() -> None:
        from vlm_dense.engine.protocol_runs import score_again, table

        print(table(score_again(args.out, args.data_root, args.protocol)))

    return _guarded(run, args.debug)


def _add_testing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint file, .pth or .safetensors; a recipe without training needs none'
    )
    parser.add_argument(
        '--protocol', metavar='NAME', help='measure by a standard protocol; `vlm-dense protocols` lists them'
    )
    parser.add_argument('--data-root', default='data', help='with --protocol: folder of all data sets; default: data')
    parser.add_argument(
        '--out',
        metavar='PATH',
        help="a .json file for the predictions, in the caller's words; with --protocol a folder for the predictions "
        'and result.json (default: in the work folder), in which a stopped test goes on',
    )
    parser.add_argument('--vocabulary', metavar='FILE', help='ask for the words of this file (.txt or .json) instead')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='save drawn predictions in this folder of the run')
    parser.add_argument('--tta', action='store_true', help=argparse.SUPPRESS)  # mmseg's users expect it.
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that a shown picture stays')


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--work-dir', help='folder for logs and results; default: work_dirs/<config name>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings, for example model.backbone.depth=18 or "train_cfg.max_iters=10"',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='who started the processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        '--debug', action='store_true', help=f'show the traceback of every error (also with {DEBUG_VARIABLE}=1)'
    )


def _config(args: argparse.Namespace) -> Config:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    set_work_dir(cfg, args.work_dir, args.config)
    return cfg


def _guarded(run: Callable[[], None], debug: bool) -> int:
    """Run, and turn a user's error into one line on stderr."""
    if debug or os.environ.get(DEBUG_VARIABLE) == '1':
        run()
        leave_processes()
        return 0
    try:
        run()
    except (VlmDenseError, FileNotFoundError) as error:
        # What happens before the processes are joined happens to all of them; later, perhaps to one alone.
        if is_first_process() or have_joined():
            print(f'error: {one_line(error)}', file=sys.stderr)
        return USER_ERROR
    leave_processes()
    return 0


def one_line(error: BaseException) -> str:
    """An error's own sentence; one from a data loader's worker comes wrapped in the worker's traceback."""
    text = str(error)
    name = f'{type(error).__qualname__}: '
    if 'Original Traceback' in text and name in text:
        text = text.rpartition(name)[2]
    return ' '.join(text.split())
