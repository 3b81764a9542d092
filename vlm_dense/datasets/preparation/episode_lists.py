"""Lists of episodes: HSNet's where the user has them, else our own; and what is checked of them.

HSNet's repository (juhongm999/hsnet) and LSeg's have a folder ``splits``. Its text files serve as they are:
``splits/pascal/{trn,val}/fold{0..3}.txt`` and ``splits/fss/{trn,val,test}.txt``. Those of COCO are pickles, which can
run code: turned into the same lines (docs/datasets.md), they are taken from ``splits/coco``.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vlm_dense.datasets.annotation_checks.files import names_in
from vlm_dense.datasets.episode_lists import FOLDS, Layout, fold_numbers, read_pairs
from vlm_dense.datasets.folder_episodes import listed_folders
from vlm_dense.datasets.picture_facts import Fact
from vlm_dense.datasets.preparation.check_maps import check_values, compare_sizes
from vlm_dense.datasets.preparation.files import placed
from vlm_dense.datasets.preparation.workplace import Workplace
from vlm_dense.errors import VlmDenseError

MIN_PIXELS = 2048  # 2 * 32 * 32: a class that shows less of itself is left out of our own lists.
OWN = "# This project's own list: figures on it are near the published ones, not comparable to the digit."
FOLDERS_SEED, SHARES = 0, {'test': 0.24, 'val': 0.24}  # of FSS-1000: 240, 240 and the other 520
Names = Callable[[Workplace, str], Sequence[str]]


def list_folds(
    work: Workplace, benchmark: str, lists: str, maps: Mapping[str, str], names: Names, num_classes: int, layout: Layout
) -> None:
    """Write ``{trn,val}/fold{0..3}.txt`` below ``lists``: each the pairs of the fold's classes.

    Our own lists have every picture with at least `MIN_PIXELS` of a class, sorted by name.

    Args:
        benchmark: Folder in ``splits``.
        lists: Below the root.
        maps: Folder of the label maps by part, below the root.
        names: The pictures of a part.
        num_classes: Of all folds.
        layout: See `fold_numbers`.
    """
    for part in _parts(work, 'val', 'trn'):
        targets = [work.root / lists / part / f'fold{fold}.txt' for fold in range(FOLDS)]
        there = [take_official(work, f'{benchmark}/{part}/{target.name}', target) for target in targets]
        if all(there):
            continue
        map_of = {name: work.root / maps[part] / f'{name}.png' for name in names(work, part)}
        facts = work.facts.of(map_of.values(), 'labels')
        pixels_of = {name: dict(fact.pixels_of) for name, path in map_of.items() if (fact := facts[path])}
        for fold, target in enumerate(targets):
            own = fold_numbers(fold, num_classes, layout)
            lines = [
                f'{name}__{number:02}'
                for name, pixels in sorted(pixels_of.items())
                for number in own
                if pixels.get(number, 0) >= MIN_PIXELS
            ]
            if not target.is_file() and lines:
                write_own(work, target, lines)


def list_folders(work: Workplace, lists: str, pictures: str) -> None:
    """Write ``{trn,val,test}.txt`` below ``lists``: names of folders.

    Our own lists share all folders out at random, always alike; which 240 classes FSS-1000 tests on, its authors' list
    tells (``fss_test_set.txt`` of HKUSTCV/FSS-1000, and HSNet's ``test.txt``).
    """
    targets = {part: work.root / lists / f'{part}.txt' for part in (*SHARES, 'trn')}
    there = [take_official(work, f'fss/{part}.txt', target) for part, target in targets.items()]
    if all(there):
        return
    folders = sorted({name.split('/')[0] for name in names_in(work.root / pictures, '.jpg')})
    mixed = [folders[row] for row in np.random.RandomState(FOLDERS_SEED).permutation(len(folders))]
    for part, target in targets.items():
        size = max(1, round(SHARES[part] * len(folders))) if part in SHARES else len(mixed)
        own, mixed = mixed[:size], mixed[size:]
        if not target.is_file() and own:
            write_own(work, target, sorted(own))


def take_official(work: Workplace, name: str, target: Path) -> bool:
    """Copy a list of HSNet's unless it is there; whether the target is there now, be it ours."""
    source = work.archives / 'splits' / name if work.archives else None
    if source is not None and source.is_file():
        if not target.is_file() or source.read_bytes() != target.read_bytes():
            with placed(target) as part:
                shutil.copyfile(source, part)
            work.report.made.append(f'{target}: taken from {source}')
        return True
    return target.is_file()


def write_own(work: Workplace, target: Path, lines: Sequence[str]) -> None:
    """Write a list of our own, which says so in its first line."""
    with placed(target) as part:
        part.write_text('\n'.join([OWN, *lines]) + '\n', encoding='utf-8')
    work.report.made.append(f"{target}: this project's own list, {len(lines):,} lines (no list of HSNet's was there)")


def check_folds(
    work: Workplace, lists: str, part: str, pictures: str, maps: str, num_classes: int, ignored: int | None
) -> None:
    """Every listed picture and its label map are there and fit, and the map shows the class.

    Args:
        lists: Below the root, as the other folders.
        part: 'val' or 'trn'.
        pictures: Folder of pictures, *.jpg.
        maps: Folder of label maps, *.png.
        num_classes: Values from 1 to this one are classes, 0 is none of them.
        ignored: One more value.
    """
    pairs = []
    for fold in range(FOLDS):
        path = work.root / lists / part / f'fold{fold}.txt'
        if not path.is_file():
            work.report.defect('missing', path, work.remedy)
            continue
        try:
            pairs += read_pairs(path, num_classes, work.remedy)
        except VlmDenseError as error:
            work.report.defect(f'cannot be used ({error})', path, work.remedy)
    legal = {*range(num_classes + 1), *(() if ignored is None else (ignored,))}
    facts = _check_pairs(work, sorted({pair.name for pair in pairs}), pictures, maps, legal)
    empty = [
        (path, f'does not show class {pair.number}, for which it is listed')
        for pair in pairs
        if (fact := facts[path := work.root / maps / f'{pair.name}.png']) and not dict(fact.pixels_of).get(pair.number)
    ]
    work.report.defects_of_a_kind(empty, work.remedy)


def check_folders(work: Workplace, lists: str, pictures: str, maps: str) -> None:
    """Every listed folder has pictures with maps of 0 and 1, and no folder is in two lists."""
    folders: list[str] = []
    for part in (*SHARES, 'trn'):
        path = work.root / lists / f'{part}.txt'
        if not path.is_file():
            work.report.defect('missing', path, work.remedy)
            continue
        listed = listed_folders(path)
        twice = sorted(set(listed) & set(folders))
        work.report.defects_of_a_kind([(path, f'names {name}, as another list does') for name in twice], work.remedy)
        folders += listed
    names = names_in(work.root / pictures, '.jpg')
    there = {name.split('/')[0] for name in names}
    work.count('classes', len(there), pictures)
    missing = [work.root / pictures / name for name in sorted(set(folders) - there)]
    work.report.defect_each('listed class has no pictures', missing, work.remedy)
    _check_pairs(work, names, pictures, maps, {0, 1})


def _check_pairs(
    work: Workplace, names: Sequence[str], pictures: str, maps: str, legal: set[int]
) -> Mapping[Path, Fact | None]:
    picture_of = {name: work.root / pictures / f'{name}.jpg' for name in names}
    map_of = {name: work.root / maps / f'{name}.png' for name in names}
    facts = work.facts.of(map_of.values(), 'labels')
    compare_sizes(work, picture_of, map_of, facts)
    check_values(work, facts, legal)
    return facts


def _parts(work: Workplace, test: str, train: str) -> tuple[str, ...]:
    return (test, train) if work.train else (test,)
