"""Preparing and checking a data set from beginning to end."""

from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from vlm_dense.datasets.pictures.storage import storage_errors
from vlm_dense.datasets.preparation.archives import unpack
from vlm_dense.datasets.preparation.dataset import DataSet
from vlm_dense.datasets.preparation.findings import Report
from vlm_dense.datasets.preparation.table_boxes import BOX_SETS
from vlm_dense.datasets.preparation.table_episodes import EPISODE_SETS
from vlm_dense.datasets.preparation.table_maps import MAP_SETS
from vlm_dense.datasets.preparation.table_words import WORD_SETS
from vlm_dense.datasets.preparation.workplace import Workplace
from vlm_dense.errors import DataError

DATA_SETS: dict[str, DataSet] = {**BOX_SETS, **MAP_SETS, **EPISODE_SETS, **WORD_SETS}


def data_set(name: str) -> DataSet:
    """The entry of a data set.

    Raises:
        DataError: If there is none of that name.
    """
    if name not in DATA_SETS:
        raise DataError(f"no data set '{name}' in this package; known: {', '.join(DATA_SETS)}.")
    return DATA_SETS[name]


def prepare(
    name: str,
    root: Path,
    archives: Path | None = None,
    train: bool = False,
    partial: bool = False,
    counts: Mapping[str, tuple[int, ...]] | None = None,
) -> Report:
    """Unpack official archives, convert what needs it, and check everything. A second run does only what is left.

    Args:
        name: A key of ``DATA_SETS``.
        root: Folder of all data sets.
        archives: Folder with the official archives, or with what was unpacked from them. Without it, what is below
            ``root`` is converted and checked.
        train: Also prepare the training part.
        partial: Report a number that differs from the official one as a note, not as a defect.
        counts: Other numbers than the official ones, by file or folder below ``root``.

    Raises:
        DataError: If there is no such data set.
        StorageError: If the disk is full or forbidden.
    """
    entry = data_set(name)
    work = _workplace(name, root, archives, train, partial, counts)
    with storage_errors(work.records, 0, 'Choose another --root.'):
        work.records.mkdir(parents=True, exist_ok=True)
    with FileLock(work.records / 'lock'):
        for link in entry.links:
            link(work)
        for archive in entry.archives:
            unpack(work, archive, archives)
        for folder, archive in entry.inner:
            unpack(work, archive, root / folder)
        with storage_errors(root, 0, 'Free some room, or choose another --root.'):
            for convert in entry.converters:
                convert(work)
        _check(entry, work)
    return work.report


def check(
    name: str,
    root: Path,
    train: bool = False,
    partial: bool = False,
    counts: Mapping[str, tuple[int, ...]] | None = None,
) -> Report:
    """Only check what is below ``root``; arguments as of ``prepare``.

    Raises:
        DataError: If there is no such data set.
    """
    entry = data_set(name)
    work = _workplace(name, root, None, train, partial, counts)
    _check(entry, work)
    return work.report


def _check(entry: DataSet, work: Workplace) -> None:
    try:
        for step in entry.checks + (entry.train_checks if work.train else ()):
            step(work)
    finally:  # also of a run that is interrupted
        work.facts.save()


def _workplace(
    name: str,
    root: Path,
    archives: Path | None,
    train: bool,
    partial: bool,
    counts: Mapping[str, tuple[int, ...]] | None,
) -> Workplace:
    entry = data_set(name)
    wanted = entry.counts if counts is None else counts
    return Workplace(name, root, archives, wanted, train, Report(partial), by_hand=not entry.archives)
