"""Checks of ODinW, whose data sets are unpacked by hand as mmdet's documentation says."""

import json
from pathlib import Path

from vlm_dense.datasets.preparation.check_boxes import (
    PICTURES,
    box_keys,
    by_file_name,
    check_ids,
    check_pictures,
    read_document,
)
from vlm_dense.datasets.preparation.workplace import Workplace

SETS = Path(__file__).with_name('odinw.json')


def odinw_sets(suite: str) -> list[dict]:
    """Rows of ``odinw13`` or ``odinw35``: name, annotations and pictures (below the root), and class names."""
    return json.loads(SETS.read_text(encoding='utf-8'))[suite]


def check_odinw(work: Workplace, suite: str) -> None:
    """Check ids, class lists, pictures and sizes of every data set of a suite."""
    for row in odinw_sets(suite):
        document = read_document(work, row['annotations'], box_keys())
        if document is None:
            continue
        work.count(PICTURES, len(document['images']), row['annotations'])
        check_ids(work, row['annotations'], document)
        names = {category['name'] for category in document['categories']}
        work.report.defect_each(
            f'no category has this name of the class list of {row["name"]}',
            [f'{work.root / row["annotations"]}, name {name!r}' for name in row['classes'] if name not in names],
            'use the annotation file that mmdet names',
        )
        locate = by_file_name(row['pictures'].rstrip('/'))
        check_pictures(work, [(locate(image), image['width'], image['height']) for image in document['images']])
