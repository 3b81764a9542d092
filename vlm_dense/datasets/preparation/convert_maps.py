"""Label maps rewritten by a table of values, many at a time, each whole or not at all."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from vlm_dense.datasets.picture_facts import THREADS
from vlm_dense.datasets.preparation.files import is_newer, placed
from vlm_dense.datasets.preparation.workplace import Workplace
from vlm_dense.errors import DataError

FORMATS = {'.png': 'PNG', '.tif': 'TIFF'}


def convert_maps(
    work: Workplace, pairs: Sequence[tuple[Path, Path]], convert: Callable[[Path], np.ndarray], what: str
) -> None:
    """Write ``convert(source)`` to ``target`` for every pair (source, target) whose target is older or missing.

    Args:
        convert: Label map (H, W) of uint8 or uint16 for a file; what it raises becomes a defect.
        what: For the report, what the targets are.
    """

    def one(pair: tuple[Path, Path]) -> Exception | None:
        try:
            save_map(convert(pair[0]), pair[1])
        # Readers report damage in every way: OSError without a number, SyntaxError, IndexError, zlib.error.
        except Exception as error:
            if getattr(error, 'errno', None) is not None:  # the disk's, not the file's
                raise
            return error
        return None

    todo = [(source, target) for source, target in pairs if not is_newer(target, source)]
    with ThreadPoolExecutor(THREADS) as pool:
        for (source, _), error in zip(todo, pool.map(one, todo), strict=True):
            if error:
                work.report.defect(f'cannot be converted ({error})', source, 'get the official archive again')
    if todo:
        work.report.made.append(f'{what}: {len(todo):,} written, {len(pairs) - len(todo):,} were there')


def save_map(map_HW: np.ndarray, target: Path) -> None:
    """Write one label map under its final name."""
    with placed(target) as part:
        Image.fromarray(map_HW).save(part, format=FORMATS[target.suffix])


def lookup_table(new_of_old: Mapping[int, int], size: int = 256) -> np.ndarray:
    """Table (size,) of int32 with the new value of every old one, -1 where an old value must not occur."""
    table = np.full(size, -1, np.int32)
    for old, new in new_of_old.items():
        table[old] = new
    return table


def look_up(source: Path, table: np.ndarray) -> np.ndarray:
    """Read a label map of uint8 (H, W) and replace its values.

    Raises:
        DataError: If it has another form, or a value that must not occur.
    """
    with Image.open(source) as image:
        map_HW = np.asarray(image)
    if map_HW.ndim != 2 or map_HW.dtype != np.uint8:
        raise DataError(f'{source} is not a label map of one channel and 8 bits; get the official archive again.')
    new_HW = table[map_HW]
    if (new_HW < 0).any():
        values = sorted(int(value) for value in np.unique(map_HW[new_HW < 0]))
        raise DataError(f'{source} has the values {values}, which the data set does not use; get the archive again.')
    return new_HW.astype(np.uint8)
