"""Memory and time per GPU that a training needs, by calculation.

python tools/training_memory.py configs/glip_swin_l.py --gpus 8 64 --batch 1

Nothing is trained and nothing measured: the model is built without weights, one forward and one backward pass run on
tensors without data, and what they would keep and compute is counted. What the loss, the libraries and the allocator
need besides is not in it, nor is communication. For one-stage detectors.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tools')]

from memory_parts.measuring import Step, measure  # noqa: E402
from memory_parts.tables import Assumptions, count_weights, memory, parts, seconds, table  # noqa: E402
from memory_parts.weightless import build_weightless  # noqa: E402
from mmengine.config import DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

import vlm_dense  # noqa: E402, F401  before mmdet and mmseg: it serves mmcv's ops
from vlm_dense.engine.command_line import USER_ERROR, one_line  # noqa: E402
from vlm_dense.engine.settings import read_config  # noqa: E402
from vlm_dense.errors import VlmDenseError  # noqa: E402

DAY = 86_400


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; the exit status."""
    args = _parser().parse_args(arguments)
    try:
        cfg = read_config(args.config, args.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        model = build_weightless(cfg.model)
        weights = count_weights(model, tuple(args.blocks))
        by_part = parts(model)
        step = measure(model, tuple(args.size), args.tokens, args.batch, not args.float32)
    except (VlmDenseError, FileNotFoundError) as error:
        print(f'error: {one_line(error)}', file=sys.stderr)
        return USER_ERROR
    assumed = Assumptions(args.peak * 1e12, args.utilisation, _averages(cfg))
    rows = [['part', 'million parameters'], *([name, f'{count / 1e6:.1f}'] for name, count in by_part.items())]
    rows.append(['all', f'{weights.total / 1e6:.1f}'])
    print(*table(rows), '', sep='\n')
    columns = [('each GPU has all', 1), *((f'sharded over {gpus}', gpus) for gpus in args.gpus)]
    by_column = {name: memory(weights, step, assumed, shards) for name, shards in columns}
    rows = [['GiB per GPU', *by_column]]
    rows += [[line, *(f'{column[line]:.1f}' for column in by_column.values())] for line in by_column[columns[0][0]]]
    print(*table(rows), '', sep='\n')
    print(*table(_times(args, step, assumed)), sep='\n')
    return 0


def _times(args: argparse.Namespace, step: Step, assumed: Assumptions) -> list[list[str]]:
    once = seconds(step, assumed)
    rows = [['GPUs', 'pictures a step', 'TFLOP a GPU', 'seconds a step', 'pictures a second', 'days']]
    for gpus in args.gpus:
        pictures = gpus * args.batch * args.accumulate
        days = args.pictures / pictures * once * args.accumulate / DAY
        work = (step.forward + step.backward) * args.accumulate / 1e12
        rows.append(
            [
                str(gpus),
                str(pictures),
                f'{work:.2f}',
                f'{once * args.accumulate:.3f}',
                f'{gpus * args.batch / once:.1f}',
                f'{days:.1f}',
            ]
        )
    return rows


def _averages(cfg: Any) -> bool:
    return any(str(hook.get('type')).endswith('EMAHook') for hook in cfg.get('custom_hooks') or [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('config', help='config file of a one-stage detector')
    parser.add_argument('--gpus', type=int, nargs='+', default=[8, 64], help='numbers of GPUs; default: 8 64')
    parser.add_argument('--batch', type=int, default=1, help='pictures per GPU at a time; default: 1')
    parser.add_argument('--accumulate', type=int, default=1, help='accumulative_counts of the optimizer; default: 1')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(800, 1344), metavar=('H', 'W'), help='padded picture; default: 800 1344'
    )
    parser.add_argument('--tokens', type=int, default=256, help='tokens of a text; default: 256')
    parser.add_argument('--float32', action='store_true', help='without mixed precision; default: bfloat16')
    parser.add_argument(
        '--blocks',
        nargs='+',
        default=('SwinBlock', 'BertLayer'),
        help='class names given to ShardedDataParallel; default: SwinBlock BertLayer',
    )
    parser.add_argument('--peak', type=float, default=989, help='TFLOP/s of a GPU; default: 989, an H100 in bfloat16')
    parser.add_argument('--utilisation', type=float, default=0.1, help='share of it that is reached; default: 0.1')
    parser.add_argument('--pictures', type=float, default=64e6, help='pictures seen in all; default: 64 million')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override settings')
    return parser


if __name__ == '__main__':
    sys.exit(main())
