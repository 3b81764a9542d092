"""Checks of annotation files in COCO's form and of the pictures they name."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from vlm_dense.datasets.annotation_checks import CheckOptions, Defects
from vlm_dense.datasets.annotation_checks.coco import check_coco, stated_size
from vlm_dense.datasets.annotation_checks.records import compare_names
from vlm_dense.datasets.detection import place_of_url
from vlm_dense.datasets.preparation.class_lists import class_list
from vlm_dense.datasets.preparation.workplace import Workplace

PICTURES = 'pictures'
# Kinds of defects that no official file has. Odd names, boxes and masks, which some have, are passed over.
OF_RECORDS = {'no-record', 'missing-field', 'id-not-integer', 'unknown-image', 'unknown-category'}
OF_RECORDS |= {f'duplicate-{part}-id' for part in ('image', 'annotation', 'category', 'segment')}
OF_MAPS = {'missing-map', 'unreadable-map', 'map-channels', 'map-size-differs', 'segment-not-listed'}
OF_MAPS |= {'segment-not-in-map'}
Locate = Callable[[dict], str]


def by_file_name(folder: str) -> Locate:
    """Pictures are ``file_name`` below ``folder`` (below the root)."""
    return lambda image: f'{folder}/{image["file_name"]}'


def by_coco_url(folder: str) -> Locate:
    """LVIS v1 names pictures by ``coco_url``."""
    return lambda image: f'{folder}/{place_of_url(image["coco_url"])}'


def box_keys(name_key: str = 'file_name') -> dict[str, tuple[str, ...]]:
    """What every entry of a file with boxes must have, with the key that names a picture."""
    return {
        'images': ('id', 'width', 'height', name_key),
        'annotations': ('id', 'image_id', 'category_id'),
        'categories': ('id', 'name'),
    }


def read_document(work: Workplace, ann: str, keys: Mapping[str, Collection[str]]) -> dict | None:
    """An annotation file below the root, or None and a defect.

    Args:
        keys: What every entry of its lists must have.
    """
    path = work.root / ann
    if not path.is_file():
        work.report.defect('missing', path, work.remedy)
        return None
    try:
        document = json.loads(path.read_bytes())
        for part, wanted in keys.items():
            for number, entry in enumerate(document[part]):
                if lacking := sorted(set(wanted) - set(entry)):
                    raise ValueError(f'entry {number} of {part} lacks {lacking}')
    except (ValueError, KeyError, TypeError) as error:
        work.report.defect(f'is no annotation file in the form of COCO ({error!r})', path, work.remedy)
        return None
    return document


def check_boxes(
    work: Workplace,
    ann: str,
    locate: Locate,
    classes: str = '',
    broken_pictures: Collection[str] = (),
    name_key: str = 'file_name',
) -> None:
    """Check one annotation file with boxes: counts, ids, class list, and every picture and its size.

    Args:
        ann: The file, below the root.
        locate: Where a picture of the file is, below the root.
        classes: Class list that the names must equal; see ``class_list``.
        broken_pictures: Pictures (ends of their places) that the official data set has but nobody can read.
        name_key: What ``locate`` reads of a picture's entry.
    """
    document = read_document(work, ann, box_keys(name_key))
    if document is None:
        return
    work.count(PICTURES, len(document['images']), ann)
    check_records(work, ann, document)
    if classes:
        check_names(work, ann, document, class_list(classes), classes)
    images = [image for image in document['images'] if not locate(image).endswith(tuple(broken_pictures) or ('\0',))]
    check_pictures(work, images, locate)


def check_records(work: Workplace, ann: str, document: dict, maps: str = '') -> None:
    """Every id once, and no reference to a picture or a category that the file lacks.

    Args:
        maps: Folder of panoptic maps, below the root; they must show the segments that the file lists.
    """
    found = Defects()
    folder = work.root / maps if maps else None
    check_coco(document, CheckOptions(maps=folder, objects=False, read=work.facts.of), found)
    for kind, defects in found.by_kind().items():
        if kind in OF_MAPS and folder:
            work.report.defects_of_a_kind([(folder / place, what) for _, place, what in defects], work.remedy)
        elif kind in OF_RECORDS:
            places = [(f'{work.root / ann}, {place}', what) for _, place, what in defects]
            work.report.defects_of_a_kind(places, 'get the official file again')


def check_names(
    work: Workplace, ann: str, document: dict, names: Sequence[str], classes: str, drop_others: bool = False
) -> None:
    """The names of the categories are those of the class list, in any order.

    Args:
        names: The class list.
        classes: What it is called.
        drop_others: Whether the file may have other categories too.
    """
    found = Defects()
    rows = enumerate(category['name'] for category in document['categories'])
    places = {name: f'categories[{row}]' for row, name in rows if isinstance(name, str)}
    compare_names(places, names, drop_others, True, found)
    for defects in found.by_kind().values():
        lines = [(f'{work.root / ann}, {place}', f'{what} (class list {classes})') for _, place, what in defects]
        work.report.defects_of_a_kind(lines, 'use the official file, or correct the name')


def check_pictures(work: Workplace, images: Iterable[dict], locate: Locate) -> None:
    """Every picture is there, can be decoded to its end, and has the size in pixels it should have.

    Args:
        images: Entries of an annotation file.
        locate: Where a picture is, below the root.
    """
    expected = {work.root / locate(image): stated_size(image) for image in images}
    facts = work.facts.of(expected, 'picture')
    _report_missing(work, [path for path, fact in facts.items() if fact is None], len(expected))
    flaws = [(path, fact.flaw) for path, fact in facts.items() if fact and fact.flaw]
    work.report.defects_of_a_kind(flaws, work.remedy)
    others = [
        (path, f'is {fact.width} x {fact.height} pixels, its annotations say {" x ".join(map(repr, expected[path]))}')
        for path, fact in facts.items()
        if fact and not fact.flaw and fact.size != expected[path]
    ]
    work.report.defects_of_a_kind(others, 'get the picture that belongs to these annotations')


def _report_missing(work: Workplace, missing: list[Path], of: int) -> None:
    folders = Counter(path.parent for path in missing)
    for folder, number in folders.items():
        if number == of or not folder.is_dir():
            work.report.defect(f'{number:,} pictures are missing', folder, work.remedy)
            missing = [path for path in missing if path.parent != folder]
    work.report.defect_each('picture is missing', missing, work.remedy)
