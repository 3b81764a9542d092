"""Look at a data set with its words drawn: boxes, masks, label maps, phrases.

python tools/browse_dataset.py CONFIG                     # as the model sees it in training
python tools/browse_dataset.py CONFIG --split test --raw  # before any step that changes a picture
python tools/browse_dataset.py --annotations a.json --pictures DIR
python tools/browse_dataset.py --annotations MAPS --pictures DIR --vocabulary words.txt

Pictures spread over the whole set are written to a folder, and together to its contact_sheet.png. In label maps pixels
of the background are grey and ignored ones are striped.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tools')]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from browse_parts.drawing import draw_sample  # noqa: E402
from browse_parts.loading import build_dataset, default_out  # noqa: E402
from mmengine.config import DictAction  # noqa: E402
from PIL import Image  # noqa: E402

import vlm_dense  # noqa: E402, F401  before mmdet and mmseg: it serves mmcv's ops
from vlm_dense.engine.command_line import USER_ERROR, one_line  # noqa: E402
from vlm_dense.errors import VlmDenseError  # noqa: E402
from vlm_dense.visualization import Panel, contact_sheet  # noqa: E402

SHEET = 'contact_sheet.png'
COLUMNS, PANEL_WIDTH = 4, 400
OF_CONFIG = ('split', 'raw', 'cfg_options')
BESIDE = ('vocabulary', 'no_masks', 'picture_suffix', 'map_suffix', 'first_label')


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='config whose data set is shown')
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train', help='which of its data sets')
    parser.add_argument('--raw', action='store_true', help='without the steps that change pictures')
    parser.add_argument('--out', type=Path, metavar='DIR', help='default: below work_dirs/browse')
    parser.add_argument('--number', type=int, default=16, metavar='N', help='how many pictures (default: 16)')
    parser.add_argument('--seed', type=int, default=0, help='of what the pipeline draws by chance')
    parser.add_argument('--show', action='store_true', help='open the sheet in a window')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override settings of the config'
    )
    beside = parser.add_argument_group('without a config')
    beside.add_argument('--annotations', type=Path, metavar='ANN', help='COCO json, or a folder of label maps')
    beside.add_argument('--pictures', type=Path, metavar='DIR', help='folder of the pictures')
    beside.add_argument('--vocabulary', metavar='V', help='words of the labels (default: the names in the json)')
    beside.add_argument('--no-masks', action='store_true', help='the json has boxes alone')
    beside.add_argument('--picture-suffix', default='.jpg', metavar='END', help='(default: .jpg)')
    beside.add_argument('--map-suffix', default='.png', metavar='END', help='(default: .png)')
    beside.add_argument('--first-label', type=int, default=0, help='number of the first word in label maps')
    args = parser.parse_args(arguments)
    if (args.config is None) == (args.annotations is None):
        parser.error('give a config or --annotations')
    if (args.annotations is None) != (args.pictures is None):
        parser.error('--annotations and --pictures go together')
    others, how = (BESIDE, 'with') if args.config else (OF_CONFIG, 'without')
    unused = [f'--{name.replace("_", "-")}' for name in others if getattr(args, name) != parser.get_default(name)]
    if unused:
        parser.error(f'{", ".join(unused)}: means nothing {how} a config; leave it out')
    if args.number < 1:
        parser.error('--number must be at least 1')
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    try:
        browse(args)
    except (VlmDenseError, FileNotFoundError) as error:
        print(f'error: {one_line(error)}', file=sys.stderr)
        return USER_ERROR
    return 0


def browse(args: argparse.Namespace) -> None:
    """Draw pictures that are spread evenly over the data set."""
    for sow in (random.seed, np.random.seed, torch.manual_seed):
        sow(args.seed)
    dataset = build_dataset(args)
    out = args.out or default_out(args)
    out.mkdir(parents=True, exist_ok=True)
    rows = np.unique(np.linspace(0, len(dataset) - 1, args.number).round().astype(int)).tolist()
    panels = []
    for row in rows:
        panel = panel_of(dataset, row, is_original=not args.raw and is_tested(dataset, args))
        Image.fromarray(panel.image_HW3).save(out / f'{row:06d}.png')
        print(f'{row:06d}.png: {panel.title}')
        panels.append(panel)
    sheet = contact_sheet(panels, min(COLUMNS, len(panels)), PANEL_WIDTH)
    sheet.save(out / SHEET)
    print(f'written: {len(panels)} of {len(dataset)} pictures and {out / SHEET}')
    if args.show:
        sheet.show()


def is_tested(dataset: Any, args: argparse.Namespace) -> bool:
    """Whether boxes were read behind the steps that change the size, as in mmdet's pipelines for evaluation."""
    return bool(getattr(dataset, 'test_mode', args.split != 'train'))


def panel_of(dataset: Any, row: int, is_original: bool) -> Panel:
    """One picture with its words, and a title with its name and what is on it."""
    packed = dataset[row]
    sample = packed['data_samples']
    classes = dataset.metainfo.get('classes', ())
    ignore = getattr(dataset, 'ignore_index', None)
    drawn = draw_sample(packed['inputs'], sample, classes, ignore, is_original)
    return Panel(f'{Path(sample.get("img_path", str(row))).name}: {drawn.what}', drawn.image_HW3)


if __name__ == '__main__':
    sys.exit(main())
