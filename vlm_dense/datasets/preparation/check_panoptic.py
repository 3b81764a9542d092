"""Checks of panoptic annotations in COCO's form: a json of segments and a map of segment ids per picture."""

from vlm_dense.datasets.preparation.check_boxes import (
    PICTURES,
    by_file_name,
    check_names,
    check_pictures,
    check_records,
    read_document,
)
from vlm_dense.datasets.preparation.class_lists import class_list
from vlm_dense.datasets.preparation.workplace import Workplace

PANOPTIC_KEYS = {
    'images': ('id', 'file_name', 'width', 'height'),
    'annotations': ('image_id', 'file_name', 'segments_info'),
    'categories': ('id', 'name'),
}


def check_panoptic(work: Workplace, ann: str, pictures: str, maps: str, classes: str) -> None:
    """Check counts, class list, pictures and their sizes, and that each map has just the segments of the json.

    Args:
        ann: The json, below the root.
        pictures: Folder of the pictures.
        maps: Folder of the maps; the id of a segment is R + 256 G + 65536 B, 0 is no segment.
        classes: Class list that the names must equal.
    """
    document = read_document(work, ann, PANOPTIC_KEYS)
    if document is None:
        return
    work.count(PICTURES, len(document['images']), ann)
    check_names(work, ann, document, class_list(classes), classes)
    check_pictures(work, document['images'], by_file_name(pictures))
    has_maps = (work.root / maps).is_dir()
    if not has_maps:
        work.report.defect('missing', work.root / maps, work.remedy)
    check_records(work, ann, document, maps if has_maps else '')
