"""A folder of label maps and, where they are at hand, the pictures that they belong to."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.files import (
    PictureFiles,
    ReadFile,
    in_threads,
    read_whole,
    require_folder,
)
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.errors import DataError, MissingFileError

EIGHT_BITS, SIXTEEN_BITS = 255, 65535


def check_label_maps(folder: Path, options: CheckOptions, defects: Defects) -> None:
    """Decode every map and compare it with the words and with its picture.

    Raises:
        DataError: If the folder holds no map.
        MissingFileError: If the folder of pictures or the listing is not there.
    """
    defects.format = 'label maps'
    stems = _stems(folder, options.map_suffix) if options.listing is None else _listed(options.listing, defects)
    if not stems:
        raise DataError(f"'{folder}' holds no *{options.map_suffix} files. Name their ending with --map-suffix.")
    sizes = {}
    if options.pictures is not None:
        sizes = _pictures(options.pictures, stems, options, defects)

    def look(stem: str) -> tuple[ReadFile, dict[int, int] | None]:
        read = read_whole(folder / f'{stem}{options.map_suffix}', keep=True)
        return ReadFile(read.size, read.digest, read.error), _values(read.pixels, options)

    for stem, (read, wrong) in zip(stems, in_threads(look, stems), strict=True):
        name = f'{stem}{options.map_suffix}'
        if read.digest is None:
            defects.add('missing-map', name, f'is not in {folder}')
        elif read.size is None:
            defects.add('unreadable-map', name, read.error)
        elif wrong is None:
            defects.add('map-channels', name, 'has several channels or no whole numbers')
        else:
            _compare(name, read, sizes.get(f'{stem}{options.picture_suffix}'), defects)
            for value, pixels in wrong.items():
                defects.add('value-without-word', name, f'value {value} ({pixels} pixels) is no word')
    defects.counted['label maps'] = len(stems)


def _stems(folder: Path, suffix: str) -> list[str]:
    paths = sorted(folder.rglob(f'*{suffix}'))
    return [path.relative_to(folder).as_posix().removesuffix(suffix) for path in paths if path.is_file()]


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
    pictures = PictureFiles(folder, defects)
    pictures.check((f'{stem}{options.picture_suffix}', None) for stem in stems)
    defects.counted['pictures'] = len(stems)
    # Without a listing a data set takes every picture of the folder, and needs its map.
    if options.listing is None:
        for stem in _without_map(require_folder(folder, '--pictures'), stems, options.picture_suffix):
            defects.add('missing-map', f'{stem}{options.map_suffix}', f'the picture {stem} has no map')
    return pictures.sizes


def _without_map(folder: Path, stems: Iterable[str], suffix: str) -> list[str]:
    return sorted(set(_stems(folder, suffix)) - set(stems))


def _compare(name: str, read: ReadFile, picture: tuple[int, int] | None, defects: Defects) -> None:
    if read.size is not None and picture is not None and read.size != picture:
        what = f'is {read.size[0]} x {read.size[1]}, its picture {picture[0]} x {picture[1]}'
        defects.add('map-size-differs', name, what)


def _values(pixels: np.ndarray | None, options: CheckOptions) -> dict[int, int] | None:
    """Values without a word and how many pixels have them; None if this is no label map."""
    if pixels is None or pixels.ndim != 2 or pixels.dtype.kind not in 'uib':
        return None
    if options.vocabulary is None:
        return {}
    values, counts = np.unique(pixels, return_counts=True)
    ignore = options.ignore
    if ignore is None:
        ignore = EIGHT_BITS if pixels.dtype.itemsize == 1 else SIXTEEN_BITS
    first = options.first_label
    known = (values >= first) & (values < first + len(options.vocabulary))
    known |= values == ignore
    if options.background_label is not None:
        known |= values == options.background_label
    wrong = ~known
    return dict(zip(values[wrong].tolist(), counts[wrong].tolist(), strict=True))
