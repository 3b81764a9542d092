"""Checks of annotation files in COCO's form and of the pictures they name."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from vlm_dense.datasets.preparation.class_lists import class_list
from vlm_dense.datasets.preparation.workplace import Workplace

PICTURES = 'pictures'
Locate = Callable[[dict], str]


def by_file_name(folder: str) -> Locate:
    """Pictures are ``file_name`` below ``folder`` (below the root)."""
    return lambda image: f'{folder}/{image["file_name"]}'


def by_coco_url(folder: str) -> Locate:
    """LVIS v1 names pictures by the last two parts of ``coco_url``, such as ``train2017/000000000009.jpg``."""
    return lambda image: f'{folder}/{coco_place(image)}'


def coco_place(image: dict) -> str:
    """Folder and file of an LVIS picture, such as ``val2017/000000397133.jpg``."""
    return '/'.join(image['coco_url'].split('/')[-2:])


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
    check_ids(work, ann, document)
    if classes:
        check_names(work, ann, [category['name'] for category in document['categories']], classes)
    images = [image for image in document['images'] if not locate(image).endswith(tuple(broken_pictures) or ('\0',))]
    check_pictures(work, [(locate(image), image['width'], image['height']) for image in images])


def check_ids(work: Workplace, ann: str, document: dict) -> None:
    """Every id once, and no reference to a picture or a category that the file lacks."""
    path = work.root / ann
    for part in ('images', 'annotations', 'categories'):
        ids = [entry['id'] for entry in document[part]]
        twice = [f'{path}, id {entry}' for entry, times in Counter(ids).items() if times > 1]
        work.report.defect_each(f'several {part} have one id', twice, 'get the official file again')
    for part, key in (('images', 'image_id'), ('categories', 'category_id')):
        known = {entry['id'] for entry in document[part]}
        used = {entry[key] for entry in document['annotations']}
        strays = [f'{path}, {key} {entry}' for entry in sorted(used - known, key=str)]
        work.report.defect_each(f'annotations name an id that none of the {part} has', strays, work.remedy)


def check_names(work: Workplace, ann: str, names: list[str], classes: str) -> None:
    """The names of the categories are those of the class list, in any order."""
    known, path = class_list(classes), work.root / ann
    work.report.defect_each(
        f'this category is not in the class list {classes}',
        [f'{path}, category {name!r}' for name in names if name not in set(known)],
        'use the official file, or correct the name',
    )
    work.report.defect_each(
        f'this name of the class list {classes} has no category',
        [f'{path}, name {name!r}' for name in known if name not in set(names)],
        'use the official file, or correct the name',
    )


def check_pictures(work: Workplace, places: list[tuple[str, int, int]]) -> None:
    """Every picture is there, can be decoded to its end, and has the size in pixels (width, height) it should have."""
    expected = {work.root / place: (width, height) for place, width, height in places}
    facts = work.facts.of(expected, 'picture')
    _report_missing(work, [path for path, fact in facts.items() if fact is None], len(expected))
    for path, fact in facts.items():
        if fact and fact.error:
            work.report.defect(fact.error, path, work.remedy)
        elif fact and (fact.width, fact.height) != expected[path]:
            width, height = expected[path]
            problem = f'is {fact.width} x {fact.height} pixels, its annotations say {width} x {height}'
            work.report.defect(problem, path, 'get the picture that belongs to these annotations')


def _report_missing(work: Workplace, missing: list[Path], of: int) -> None:
    folders = Counter(path.parent for path in missing)
    for folder, number in folders.items():
        if number == of or not folder.is_dir():
            work.report.defect(f'{number:,} pictures are missing', folder, work.remedy)
            missing = [path for path in missing if path.parent != folder]
    work.report.defect_each('picture is missing', missing, work.remedy)
