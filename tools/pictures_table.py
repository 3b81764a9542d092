"""Every method on the built-in pictures, over seeds, beside its control: README's table.

python tools/pictures_table.py --seeds 0 1 2

A seed chooses the scenes, the split of the words and the training. Per seed the pictures are composed into
data/pictures, recipes that train are trained, and each is tested on all words in one pass, and once more with the novel
words' embeddings exchanged. Steps that were done before with the same code, pictures and settings are taken over.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tools')]

from demo_parts.controls import Measured, measure  # noqa: E402
from demo_parts.methods import METHODS, compose  # noqa: E402
from demo_parts.recipes import recipes  # noqa: E402
from demo_parts.reuse import Finished  # noqa: E402
from demo_parts.steps import Progress  # noqa: E402

from vlm_dense.errors import VlmDenseError  # noqa: E402

HEADER = ('method', 'figure', 'seed', 'novel (unseen)', 'base (seen)', 'novel, words exchanged')
FIGURES = {'novel_ap50': 'AP50', 'unseen_miou': 'mIoU'}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS), metavar='METHOD')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/pictures_table'), help='logs and checkpoints')
    parser.add_argument(
        '--source', choices=('auto', 'stamps', 'drawn'), default='auto', help='cut-outs to compose from'
    )
    parser.add_argument('--fresh', action='store_true', help='run every step, also those whose results are there')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    os.chdir(ROOT)
    rows = []
    for seed in arguments.seeds:
        folder = arguments.work_dir / f'seed{seed}'
        folder.mkdir(parents=True, exist_ok=True)
        print(f'seed {seed}', flush=True)
        source = compose(seed, arguments.source)['source']
        for measured in measure_all(arguments.methods, folder, seed, arguments.fresh):
            rows.append(as_row(measured, seed))
    (arguments.work_dir / 'table.json').write_text(json.dumps(dict(rows=rows, pictures=source), indent=1))
    print(f'\n{as_markdown(rows)}\n\npictures: {source}')


def measure_all(names: list[str], folder: Path, seed: int, fresh: bool) -> list[Measured]:
    """All methods on the pictures that are there, two at a time."""
    finished = Finished(folder, fresh)
    with Progress() as progress, ThreadPoolExecutor(2) as pool:
        jobs = []
        for name in names:
            configs = recipes(METHODS[name].config, None, folder)
            kinds = {kind: configs[kind] for kind in ('words', 'shuffled')}
            jobs.append(pool.submit(measure, METHODS[name], kinds, finished, seed, progress))
        return [job.result() for job in jobs]


def as_row(measured: Measured, seed: int) -> dict:
    """One line of the table; figures in percent."""
    method = measured.method
    figures = (measured.figure(0), measured.figure(1), measured.figure(0, 'shuffled'))
    values = (method.name, FIGURES[method.novel_and_base[0]], seed, *(round(figure, 2) for figure in figures))
    return dict(zip(HEADER, values, strict=True))


def as_markdown(rows: list[dict]) -> str:
    """The table, methods together."""
    lines = ['| ' + ' | '.join(HEADER) + ' |', '|' + '---|' * len(HEADER)]
    for row in sorted(rows, key=lambda row: (row['figure'], [m.name for m in METHODS.values()].index(row['method']))):
        cells = [f'{row[name]:.1f}' if isinstance(row[name], float) else str(row[name]) for name in HEADER]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


if __name__ == '__main__':
    try:
        main()
    except VlmDenseError as error:
        sys.exit(f'{type(error).__name__}: {error}')
