"""The figures of the demo: the table, the json and what they mean."""

import math
from typing import Any

from demo_parts.controls import Measured

from vlm_dense.visualization import Table

MEANING = (
    'What the numbers mean: no training picture held an object of a novel (unseen) word, and all words compete in one '
    'pass. The scenes are photo cut-outs pasted on photographs and most words have a single photograph, so the figures '
    'compare a method with its controls here; they cannot be compared with published COCO, LVIS or ADE20K figures. '
    '"Words the teacher knew" are names of ImageNet classes: the image teacher was trained on other pictures of them.'
)
ROWS = (
    ('the method', '', ''),
    ('... words the teacher knew', '_known', None),
    ('... words it did not know', '_unknown', None),
    ('control: novel words exchanged', '_shuffled', '_shuffled'),
    ('control: closed-set head', '_closed_set', '_closed_set'),
)


def as_results(
    detection: Measured, segmentation: Measured, pictures: dict, vlm: str | None, seconds: float
) -> dict[str, Any]:
    """What ``results.json`` holds; figures are percent, None where nothing was measured."""
    return dict(
        detection=_figures(detection, pictures),
        segmentation=_figures(segmentation, pictures),
        pictures=pictures['source'],
        pair=vlm or 'ImageNet classifier + sentence encoder',
        seed=pictures['seed'],
        seconds=round(seconds, 1),
    )


def _figures(measured: Measured, pictures: dict) -> dict[str, Any]:
    novel, base = measured.method.novel_and_base
    known = set(pictures['known'])
    figures = {
        novel: measured.figure(0),
        base: measured.figure(1),
        f'{novel}_known': measured.novel_mean([w for w in pictures['words'] if w in known]),
        f'{novel}_unknown': measured.novel_mean([w for w in pictures['words'] if w not in known]),
    }
    for kind, ending in (('shuffled', '_shuffled'), ('closed', '_closed_set')):
        figures |= {f'{name}{ending}': measured.figure(i, kind) for i, name in enumerate((novel, base))}
    rounded = {name: None if math.isnan(value) else round(value, 2) for name, value in figures.items()}
    return dict(method=measured.method.name, **rounded)


def as_table(results: dict[str, Any]) -> Table:
    """Methods and controls side by side."""
    boxes, pixels = results['detection']['method'], results['segmentation']['method']
    header = ['', f'{boxes} novel AP50', f'{boxes} base AP50', f'{pixels} unseen mIoU', f'{pixels} seen mIoU']
    names = [('detection', 'novel_ap50'), ('detection', 'base_ap50')]
    names += [('segmentation', 'unseen_miou'), ('segmentation', 'seen_miou')]
    rows = []
    for title, *endings in ROWS:
        cells = [title]
        for column, (task, name) in enumerate(names):
            ending = endings[column % 2]
            value = None if ending is None else results[task].get(name + ending)
            cells.append('-' if value is None else f'{value:.1f}')
        rows.append(cells)
    return Table(header, rows)


def as_text(table: Table) -> str:
    """The table for a terminal."""
    widths = [max(len(row[i]) for row in [table.header, *table.rows]) for i in range(len(table.header))]
    lines = []
    for row in [table.header, *table.rows]:
        first, *others = row
        lines.append(
            '  '.join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))])
        )
    return '\n'.join([lines[0], '-' * len(lines[0]), *lines[1:]])
