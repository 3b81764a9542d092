"""COCO json, and what LVIS and panoptic files add to it."""

from dataclasses import dataclass, field
from typing import Any

from vlm_dense.datasets.annotation_checks import lvis, panoptic
from vlm_dense.datasets.annotation_checks.boxes import Size, check_box
from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.files import PictureFiles
from vlm_dense.datasets.annotation_checks.masks import mask_problem
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.annotation_checks.records import (
    MISSING,
    check_distinct,
    check_words,
    is_integer,
    new_id,
    records,
    reference,
    text_field,
)
from vlm_dense.datasets.annotation_checks.records import field as field_of
from vlm_dense.datasets.detection import place_of_url
from vlm_dense.errors import ConfigError

LONGEST_SIDE = 1_000_000  # pixels; pycocotools counts in 32 bits


@dataclass
class Index:
    """What annotations refer to.

    Args:
        images: Records by id; the first of an id.
        sizes: Width and height by image id, None where the file has none that can be used.
        names: Path of the picture by image id.
        categories: Names by id, None where there is none that can be used.
        found: Categories annotated in an image, by image id.
    """

    images: dict[int | str, dict] = field(default_factory=dict)
    sizes: dict[int | str, Size | None] = field(default_factory=dict)
    names: dict[int | str, str] = field(default_factory=dict)
    categories: dict[int | str, str | None] = field(default_factory=dict)
    found: dict[int | str, set[int | str]] = field(default_factory=dict)


def check_coco(content: dict[str, Any], options: CheckOptions, defects: Defects) -> None:
    """Check categories, images, annotations, and picture files where their folder is given.

    Raises:
        ConfigError: If a folder of panoptic maps is given for a file that is not panoptic.
        MissingFileError: If a folder does not exist.
    """
    index = Index()
    _categories(content.get('categories'), index, options, defects)
    _images(content['images'], index, defects)
    annotations = content['annotations']
    if panoptic.is_panoptic(annotations):
        defects.format = 'COCO panoptic json'
        panoptic.check_segments(annotations, index.sizes, index.categories, options, defects)
    else:
        if options.maps is not None:
            raise ConfigError(
                'the annotations list no panoptic segments, so there are no maps to check. Leave them out.'
            )
        defects.format = 'LVIS json' if lvis.is_lvis(content['images']) else 'COCO json'
        _annotations(annotations, index, options, defects)
        lvis.check_lists(index.images, index.categories, index.found, defects)
    if options.pictures is not None:
        wanted = ((name, index.sizes[identity]) for identity, name in index.names.items())
        PictureFiles(options, defects).check(wanted)


def _categories(entries: Any, index: Index, options: CheckOptions, defects: Defects) -> None:
    named = []
    for place, category in records(entries, 'categories', defects):
        identity = new_id(category, 'category', place, index.categories, defects)
        name = text_field(category, 'name', place, defects)
        if identity is not None:
            index.categories[identity] = name
        if name is not None:
            named.append((place, name))
    check_distinct(named, defects)
    check_words({name: place for place, name in reversed(named)}, options, True, defects)
    defects.counted['categories'] = len(index.categories)


def _images(entries: Any, index: Index, defects: Defects) -> None:
    first: dict[str, str] = {}
    for place, image in records(entries, 'images', defects):
        identity = new_id(image, 'image', place, index.images, defects)
        name = _file_name(image, place, defects)
        size = picture_size(image, place, defects)
        if identity is not None:
            index.images[identity] = image
            index.sizes[identity] = size
            if name is not None:
                index.names[identity] = name
        if name is None:
            continue
        # Files of captions list a picture once per caption, and two people may have written the same.
        earlier = place if 'caption' in image else first.setdefault(name, place)
        if earlier != place:
            defects.add('duplicate-picture', place, f'{name} is {earlier} too')
    defects.counted['images'] = len(index.images)


def _file_name(image: dict[str, Any], place: str, defects: Defects) -> str | None:
    if 'file_name' not in image and 'coco_url' in image:
        url = text_field(image, 'coco_url', place, defects)
        return None if url is None else place_of_url(url)
    return text_field(image, 'file_name', place, defects)


def stated_size(image: dict[str, Any]) -> tuple[Any, Any]:
    """Width and height as the readers of the file take them; MDETR's files of Flickr30k hold them as text."""
    width, height = (
        int(side) if 'caption' in image and isinstance(side, str) and side.isdecimal() else side
        for side in (image['width'], image['height'])
    )
    return width, height


def picture_size(image: dict[str, Any], place: str, defects: Defects) -> Size | None:
    """Width and height of a record, or None and a defect."""
    sides = [field_of(image, side, place, defects) for side in ('width', 'height')]
    if MISSING in sides:
        return None
    sides = list(stated_size(image))
    if not all(is_integer(side) and 0 < side <= LONGEST_SIDE for side in sides):
        defects.add('picture-size-unusable', place, f'width {sides[0]!r}, height {sides[1]!r}')
        return None
    return sides[0], sides[1]


def _annotations(entries: Any, index: Index, options: CheckOptions, defects: Defects) -> None:
    rows = list(records(entries, 'annotations', defects))
    # Files of boxes alone often carry an empty list in place of each mask.
    has_masks = any(annotation.get('segmentation') for _, annotation in rows)
    seen: set[int | str] = set()
    for row, annotation in rows:
        identity = new_id(annotation, 'annotation', row, seen, defects)
        if identity is not None:
            seen.add(identity)
        image = reference(annotation, 'image', row, index.images, defects)
        category = reference(annotation, 'category', row, index.categories, defects)
        size = None if image is None else index.sizes[image]
        place = row if image is None else f'{row} ({index.names.get(image, f"image {image}")})'
        if options.objects and (box := field_of(annotation, 'bbox', row, defects)) is not MISSING:
            check_box(box, size, place, options.box_slack, defects)
        if options.objects and has_masks and size is not None:
            _mask(annotation, size, place, defects)
        if image is not None and category is not None:
            index.found.setdefault(image, set()).add(category)
    defects.counted['annotations'] = len(rows)


def _mask(annotation: dict[str, Any], size: Size, place: str, defects: Defects) -> None:
    if 'segmentation' not in annotation:
        defects.add('missing-field', place, "has no 'segmentation', which others have")
        return
    problem = mask_problem(annotation['segmentation'], size)
    if problem is not None:
        kind, what = problem
        defects.add(kind, place, what)
