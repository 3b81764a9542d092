"""Checks of ODinW, whose data sets are unpacked by hand as mmdet's documentation says."""

from vlm_dense.datasets.odinw import odinw_sets
from vlm_dense.datasets.preparation.check_boxes import (
    PICTURES,
    box_keys,
    by_file_name,
    check_names,
    check_pictures,
    check_records,
    read_document,
)
from vlm_dense.datasets.preparation.workplace import Workplace


def check_odinw(work: Workplace, suite: str) -> None:
    """Check ids, class lists, pictures and sizes of every data set of a suite."""
    for row in odinw_sets(suite):
        document = read_document(work, row.annotations, box_keys())
        if document is None:
            continue
        work.count(PICTURES, len(document['images']), row.annotations)
        check_records(work, row.annotations, document)
        check_names(work, row.annotations, document, row.classes, row.name, drop_others=True)
        check_pictures(work, document['images'], by_file_name(row.pictures.rstrip('/')))
