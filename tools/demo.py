"""Two methods on real photographs, from nothing to a page of pictures: compose, train, evaluate, draw.

python tools/demo.py                      # what `make demo` runs
python tools/demo.py --vlm NAME:PRETRAINED   # words and teacher of an open_clip model whose weights are here
"""

import argparse
import json
import os
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tools')]

from demo_parts.controls import measure  # noqa: E402
from demo_parts.methods import METHODS, compose  # noqa: E402
from demo_parts.recipes import recipes  # noqa: E402
from demo_parts.report import MEANING, as_results, as_table, as_text  # noqa: E402
from demo_parts.reuse import Finished  # noqa: E402
from demo_parts.steps import Progress  # noqa: E402

from vlm_dense.errors import VlmDenseError  # noqa: E402

DETECTION, SEGMENTATION = METHODS['vild'], METHODS['fcclip']


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='where everything is written')
    parser.add_argument(
        '--source', choices=('auto', 'stamps', 'drawn'), default='auto', help='cut-outs to compose from'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the pictures, the split and the training')
    parser.add_argument('--fresh', action='store_true', help='run every step, also those whose results are there')
    parser.add_argument('--vlm', metavar='NAME:PRETRAINED', help='an open_clip model in place of the offline pair')
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    started = time.time()
    os.chdir(ROOT)
    work_dir = arguments.work_dir
    work_dir.mkdir(parents=True, exist_ok=True)
    configs = [recipes(method.config, arguments.vlm, work_dir) for method in (DETECTION, SEGMENTATION)]
    print('compose pictures ...', flush=True)
    pictures = compose(arguments.seed, arguments.source)

    finished = Finished(work_dir, arguments.fresh)
    with Progress() as progress, ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(measure, method, paths, finished, arguments.seed, progress)
            for method, paths in zip((DETECTION, SEGMENTATION), configs, strict=True)
        ]
        detection, segmentation = (job.result() for job in jobs)

    # Imported late: drawing needs torch, and a wrong argument should be told at once.
    from demo_parts.drawing import draw_all, write_page

    print('draw pictures ...', flush=True)
    sheet = draw_all(work_dir, detection, segmentation)
    results = as_results(detection, segmentation, pictures, arguments.vlm, time.time() - started)
    results['steps_done_before'] = finished.count
    (work_dir / 'results.json').write_text(json.dumps(results, indent=1), encoding='utf-8')
    table = as_table(results)
    write_page(work_dir, table, results)
    print(f'\n{as_text(table)}\n\n{textwrap.fill(MEANING, 100)}\n')
    print(f'pictures: {pictures["source"]}; words and teacher: {results["pair"]}; {results["seconds"]:.0f} seconds')
    if finished.count:
        print(f'{finished.count} steps were done before with this code and these pictures; --fresh runs them again.')
    for path in (work_dir / 'index.html', sheet, work_dir / 'results.json'):
        print(f'written: {path}')


if __name__ == '__main__':
    try:
        main()
    except VlmDenseError as error:
        sys.exit(f'{type(error).__name__}: {error}')
