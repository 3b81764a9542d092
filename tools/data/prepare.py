"""Turn the official archives of a data set into the layout of docs/datasets.md, and check what is there.

Exit status 0 only if everything is there and right. Every defect is one line with the place, what is wrong and what to
do about it. A second run does only what is left to do.

Example:
    python tools/data/prepare.py coco --root data --archives ~/Downloads
"""

import argparse
import sys
from pathlib import Path

from vlm_dense.errors import VlmDenseError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('dataset', nargs='?', help='name of the data set; --list names them')
    parser.add_argument('--list', action='store_true', help='name the data sets, their archives and their protocols')
    parser.add_argument('--root', type=Path, default=Path('data'), help='folder of all data sets')
    parser.add_argument(
        '--archives', type=Path, help='folder with the official archives, or with what was unpacked from them'
    )
    parser.add_argument('--check', action='store_true', help='only check what is below --root')
    parser.add_argument('--train', action='store_true', help='the training part too, where the data set has one')
    parser.add_argument(
        '--partial',
        action='store_true',
        help='the data are a part of the official ones: numbers that differ are notes, not defects',
    )
    args = parser.parse_args()
    if not (args.list or args.dataset):
        parser.error('name a data set; --list shows them')
    if args.check and args.archives:
        parser.error('--check unpacks nothing; leave --archives out')
    return args


def main() -> int:
    args = parse_args()
    # Late, so that --help does not wait.
    from vlm_dense.datasets.preparation import check, prepare

    if args.list:
        print(listing())
        return 0
    try:
        if args.archives and not args.archives.is_dir():
            print(f'error: folder of archives {args.archives} does not exist; correct --archives.', file=sys.stderr)
            return 1
        if args.check:
            report = check(args.dataset, args.root, args.train, args.partial)
        else:
            report = prepare(args.dataset, args.root, args.archives, args.train, args.partial)
    except VlmDenseError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    for line in report.made:
        print(line)
    for finding in report.notes:
        print(f'note: {finding}')
    for finding in report.defects:
        print(f'defect: {finding}')
    verdict = 'complete and right' if report.good else f'{len(report.defects)} defects'
    print(f'{args.dataset} below {args.root}: {verdict}')
    return 0 if report.good else 1


def listing() -> str:
    """Every data set with its protocols and official archives."""
    from vlm_dense.datasets.preparation import DATA_SETS

    lines = []
    for name, entry in DATA_SETS.items():
        lines.append(f'{name}: {entry.title}')
        lines.append(f'    protocols: {", ".join(entry.protocols)}')
        for archive in entry.archives:
            only_train = ' (for --train)' if all(take.train for take in archive.takes) else ''
            lines.append(f'    {archive.file}{only_train}, from {archive.page}')
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
