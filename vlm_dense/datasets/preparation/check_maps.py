"""Checks of label maps and of the pictures they belong to."""

from collections.abc import Collection, Iterable
from pathlib import Path

from vlm_dense.datasets.preparation.findings import LINES_OF_A_KIND
from vlm_dense.datasets.preparation.workplace import Workplace


def check_maps(
    work: Workplace,
    pictures: str,
    picture_end: str,
    maps: str,
    map_end: str,
    legal: Collection[int],
    names: str = '',
) -> None:
    """Check that pictures and label maps come in pairs of one size, and that maps hold legal values only.

    Args:
        pictures: Folder of pictures, below the root; sub-folders count.
        picture_end: End of a picture's name; what comes before it is the name of the pair.
        maps: Folder of label maps.
        map_end: End of a label map's name.
        legal: Values that a map may have.
        names: Text file that lists the pairs, one a line; without it every picture must have its map.
    """
    wanted = listed_names(work, names) if names else names_in(work.root / pictures, picture_end)
    if wanted is None:
        return
    if not wanted:
        work.report.defect(f'holds no *{picture_end}', work.root / pictures, work.remedy)
    work.count('pairs of picture and label map', len(wanted), names or maps)
    picture_of = {name: work.root / pictures / f'{name}{picture_end}' for name in wanted}
    map_of = {name: work.root / maps / f'{name}{map_end}' for name in wanted}
    if not names:
        strays = sorted(set(names_in(work.root / maps, map_end)) - set(wanted))
        places = [work.root / maps / f'{name}{map_end}' for name in strays]
        work.report.defect_each('label map has no picture', places, work.remedy)
    compare_sizes(work, picture_of, map_of)
    check_values(work, map_of.values(), legal)


def names_in(folder: Path, end: str) -> list[str]:
    """Names of the files in a folder and its sub-folders, without their common end."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob(f'*{end}') if not path.name.startswith('.'))
    return sorted(name.removesuffix(end) for name in found)


def listed_names(work: Workplace, names: str) -> list[str] | None:
    """Lines of a text file below the root, or None and a defect."""
    path = work.root / names
    if not path.is_file():
        work.report.defect('missing', path, work.remedy)
        return None
    return path.read_text(encoding='utf-8').split()


def compare_sizes(work: Workplace, picture_of: dict[str, Path], map_of: dict[str, Path]) -> None:
    """Both files of a pair are there, can be read, and have one size."""
    pictures = work.facts.of(picture_of.values(), 'picture')
    maps = work.facts.of(map_of.values(), 'labels')
    for facts, problem in ((pictures, 'picture is missing'), (maps, 'label map is missing')):
        work.report.defect_each(problem, [path for path, fact in facts.items() if fact is None], work.remedy)
        for path, fact in facts.items():
            if fact and fact.error:
                work.report.defect(fact.error, path, work.remedy)
    for name, path in map_of.items():
        picture, label_map = pictures[picture_of[name]], maps[path]
        if picture and label_map and not picture.error and not label_map.error and picture[:2] != label_map[:2]:
            problem = (
                f'is {label_map.width} x {label_map.height} pixels, its picture {picture_of[name]} is '
                f'{picture.width} x {picture.height}'
            )
            work.report.defect(problem, path, work.remedy)


def check_values(work: Workplace, maps: Iterable[Path], legal: Collection[int]) -> None:
    """Maps hold legal values only."""
    allowed = frozenset(legal)
    wrong = {
        path: sorted(set(fact.values) - allowed)
        for path, fact in work.facts.of(maps, 'labels').items()
        if fact and not fact.error
    }
    bad = [(path, values) for path, values in wrong.items() if values]
    for path, values in bad[:LINES_OF_A_KIND]:
        work.report.defect(f'has the values {values[:10]}, which are no labels', path, work.remedy)
    work.report.defect_each('has values that are no labels', [path for path, _ in bad[LINES_OF_A_KIND:]], work.remedy)
