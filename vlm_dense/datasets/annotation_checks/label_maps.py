"""A folder of label maps and, where they are at hand, the pictures that they belong to."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.files import PictureFiles, names_in, usable_map
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.label_values import REFUSED, label_table
from vlm_dense.errors import DataError, MissingFileError


def check_label_maps(folder: Path, options: CheckOptions, defects: Defects) -> None:
    """Decode every map and compare it with the words and with its picture.

    Raises:
        DataError: If the folder holds no map.
        MissingFileError: If the folder of pictures or the listing is not there.
    """
    defects.format = 'label maps'
    stems = names_in(folder, options.map_suffix) if options.listing is None else _listed(options.listing, defects)
    if not stems:
        raise DataError(f"'{folder}' holds no *{options.map_suffix} files. Name their ending with --map-suffix.")
    sizes = {}
    if options.pictures is not None:
        sizes = _pictures(options.pictures, stems, options, defects)
    facts = options.read((folder / f'{stem}{options.map_suffix}' for stem in stems), 'labels')
    is_known = _known_values(options)
    for stem in stems:
        name = f'{stem}{options.map_suffix}'
        fact = usable_map(name, facts[folder / name], folder, sizes.get(f'{stem}{options.picture_suffix}'), defects)
        for value, pixels in fact.other_values(is_known).items() if fact else ():
            defects.add('value-without-word', name, f'value {value} ({pixels} pixels) is no word')
    defects.counted['label maps'] = len(stems)


def _listed(listing: Path, defects: Defects) -> list[str]:
    if not listing.is_file():
        raise MissingFileError(f"listing '{listing}' does not exist. Give a text file with a path per line.")
    stems: dict[str, int] = {}
    for row, line in enumerate(listing.read_text(encoding='utf-8').splitlines(), start=1):
        if not line.strip():
            continue
        first = stems.setdefault(line.strip(), row)
        if first != row:
            defects.add('duplicate-picture', f'{listing.name} line {row}', f'{line.strip()} is line {first} too')
    return list(stems)


def _pictures(
    folder: Path, stems: list[str], options: CheckOptions, defects: Defects
) -> dict[str, tuple[int, int] | None]:
    """Check the pictures of all maps, and report pictures without one; sizes by name."""
    pictures = PictureFiles(options, defects)
    pictures.check((f'{stem}{options.picture_suffix}', None) for stem in stems)
    defects.counted['pictures'] = len(stems)
    # Without a listing a data set takes every picture of the folder, and needs its map.
    if options.listing is None:
        for stem in sorted(set(names_in(folder, options.picture_suffix)) - set(stems)):
            defects.add('missing-map', f'{stem}{options.map_suffix}', f'the picture {stem} has no map')
    return pictures.sizes


def _known_values(options: CheckOptions) -> Callable[[int], bool]:
    """Whether a value has a word or needs none; without words nothing is compared."""
    if options.vocabulary is None:
        return lambda value: True
    # What `LoadLabelMap` takes.
    table_V = label_table(range(len(options.vocabulary)), options.first_label, None, ignored=0)
    known = {*np.flatnonzero(table_V != REFUSED).tolist(), options.ignore, options.background_label}
    return known.__contains__
