"""``vlm-dense data check``: everything that is wrong with annotations, in one run."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_dense.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from vlm_dense.datasets.annotation_checks import Defects

SHOWN = 3  # places per kind of defect
ENDING = 'Exit status: 0 without a defect, 1 with defects, 2 after an error such as a missing file.'
# Options that mean nothing for a json file.
OF_LABEL_MAPS = ('first_label', 'background_label', 'ignore', 'map_suffix', 'picture_suffix', 'listing')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action and its arguments."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='action')
    check = actions.add_parser('check', help='find all defects of an annotation file or of label maps', epilog=ENDING)
    check.add_argument(
        'annotations',
        type=Path,
        metavar='ANN',
        help='COCO, LVIS, panoptic or PhraseCut json, ODVG lines, a json of words, or a folder of label maps',
    )
    check.add_argument(
        '--vocabulary', metavar='V', help='compare names with a file of words or a data set such as coco'
    )
    check.add_argument(
        '--other-categories', choices=('refuse', 'drop'), default='refuse', help='names that the vocabulary lacks'
    )
    check.add_argument('--pictures', type=Path, metavar='DIR', help='decode the picture files, named below this folder')
    check.add_argument('--maps', type=Path, metavar='DIR', help='decode the maps of a panoptic json')
    check.add_argument(
        '--box-slack',
        type=float,
        default=2.0,
        metavar='PIXELS',
        help='a box may reach so far over the edge (default: 2)',
    )
    check.add_argument('--all', action='store_true', help='list every place')
    check.add_argument('--json', type=Path, metavar='FILE', help='write every defect to this file')
    _add_label_maps(check.add_argument_group('folders of label maps'))


def _add_label_maps(maps: argparse._ArgumentGroup) -> None:
    maps.add_argument('--first-label', type=int, metavar='N', help='value of the first word (default: 0)')
    maps.add_argument('--background-label', type=int, metavar='N', help='another value that may occur')
    maps.add_argument(
        '--ignore',
        type=int,
        metavar='N',
        help='one more value without label (255, 65535 and those before the first word are)',
    )
    maps.add_argument('--map-suffix', metavar='END', help='end of their names (default: .png)')
    maps.add_argument('--picture-suffix', metavar='END', help="end of the pictures' names (default: .jpg)")
    maps.add_argument(
        '--listing', type=Path, metavar='FILE', help='check only those listed, without suffix, one per line'
    )


def run(args: argparse.Namespace) -> int:
    """Check, and print what was found; 1 if that is anything, else 0."""
    from vlm_dense.datasets.annotation_checks import check_annotations

    found = check_annotations(args.annotations, _options(args))
    for line in report(found, args.annotations, args.all):
        print(line)
    if args.json is not None:
        _write(found, args.annotations, args.json)
    return int(len(found) > 0)


def _options(args: argparse.Namespace) -> Any:
    from vlm_dense.datasets.annotation_checks import CheckOptions
    from vlm_dense.text.vocabulary import Vocabulary

    given = {name: getattr(args, name) for name in OF_LABEL_MAPS if getattr(args, name) is not None}
    if given and not args.annotations.is_dir():
        listed = ', '.join(f'--{name.replace("_", "-")}' for name in given)
        raise ConfigError(f"'{args.annotations}' is no folder of label maps: {listed} means nothing. Leave it out.")
    return CheckOptions(
        vocabulary=None if args.vocabulary is None else Vocabulary.build(args.vocabulary),
        other_categories=args.other_categories,
        pictures=args.pictures,
        maps=args.maps,
        box_slack=args.box_slack,
        **given,
    )


def report(found: 'Defects', path: Path, show_all: bool) -> Iterator[str]:
    """A line per kind of defect, and a summary.

    Args:
        found: What `check_annotations` gave.
        path: What was checked.
        show_all: Whether to list every place, each on its own line, instead of the first few.
    """
    from vlm_dense.datasets.annotation_checks import KINDS

    for kind, defects in found.by_kind().items():
        head = f'{kind}: {len(defects)} {KINDS[kind]}'
        if show_all:
            yield head
            yield from (f'  {defect}' for defect in defects)
            continue
        more = f'; and {len(defects) - SHOWN} more' if len(defects) > SHOWN else ''
        yield f'{head}: {"; ".join(map(str, defects[:SHOWN]))}{more}'
    counted = ', '.join(f'{number} {what}' for what, number in found.counted.items())
    result = f'{len(found)} defect(s) of {len(found.by_kind())} kind(s)' if len(found) else 'no defect'
    yield f'{path} ({found.format}: {counted}): {result}'


def _write(found: 'Defects', path: Path, out: Path) -> None:
    from vlm_dense.folders import whole_file

    kinds = found.by_kind()
    content = dict(
        file=str(path),
        format=found.format,
        counted=found.counted,
        counts={kind: len(defects) for kind, defects in kinds.items()},
        defects=[defect._asdict() for defects in kinds.values() for defect in defects],
    )
    try:
        with whole_file(out) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding='utf-8')
    except OSError as error:
        raise StorageError(f"'{out}' cannot be written: {error.strerror}. Give --json another place.") from error
