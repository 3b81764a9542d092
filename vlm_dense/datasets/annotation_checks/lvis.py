"""LVIS: what an image says about categories must agree with its annotations (arXiv:1908.03195, section 3.2)."""

from collections.abc import Mapping
from typing import Any

from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.records import is_integer

NEGATIVE, NOT_EXHAUSTIVE = LISTS = ('neg_category_ids', 'not_exhaustive_category_ids')


def is_lvis(images: Any) -> bool:
    """Whether the images carry LVIS's lists."""
    return isinstance(images, list) and any(isinstance(image, dict) and NEGATIVE in image for image in images)


def check_lists(
    images: Mapping[int | str, dict[str, Any]],
    categories: Mapping[int | str, str | None],
    found: Mapping[int | str, set[int | str]],
    defects: Defects,
) -> None:
    """Report categories that an image lists as absent and has, or lists as both absent and not exhaustive.

    Args:
        images: Records by id.
        categories: Names by id.
        found: Annotated categories by image id.
        defects: Filled.
    """
    for identity, image in images.items():
        place = f'image {identity}'
        negative, loose = (_ids(image.get(name, []), name, place, categories, defects) for name in LISTS)
        for category in sorted(negative & found.get(identity, set())):
            what = f'{_name(category, categories)} stands in {NEGATIVE} and is annotated'
            defects.add('negative-annotated', place, what)
        for category in sorted(negative & loose):
            what = f'{_name(category, categories)} stands in {NEGATIVE} and in {NOT_EXHAUSTIVE}'
            defects.add('negative-not-exhaustive', place, what)


def _ids(entries: Any, name: str, place: str, categories: Mapping[int | str, str | None], defects: Defects) -> set[int]:
    if not isinstance(entries, list):
        defects.add('no-record', place, f"'{name}' is {str(entries)[:40]}, not a list")
        return set()
    usable = set()
    for entry in entries:
        if not is_integer(entry):
            defects.add('id-not-integer', place, f'{name} holds {str(entry)[:40]!r}')
        elif entry not in categories:
            defects.add('unknown-category', place, f'{name} holds category {entry}, which is not listed')
        else:
            usable.add(entry)
    return usable


def _name(category: int, categories: Mapping[int | str, str | None]) -> str:
    return f"category {category} '{categories[category]}'"
