"""Checks of label maps and of the pictures they belong to."""

from collections.abc import Collection, Mapping
from pathlib import Path

from vlm_dense.datasets.annotation_checks.files import names_in
from vlm_dense.datasets.picture_facts import Fact
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
    facts = work.facts.of(map_of.values(), 'labels')
    compare_sizes(work, picture_of, map_of, facts)
    check_values(work, facts, legal)


def listed_names(work: Workplace, names: str) -> list[str] | None:
    """Lines of a text file below the root, or None and a defect."""
    path = work.root / names
    if not path.is_file():
        work.report.defect('missing', path, work.remedy)
        return None
    return path.read_text(encoding='utf-8').split()


def compare_sizes(
    work: Workplace, picture_of: dict[str, Path], map_of: dict[str, Path], maps: Mapping[Path, Fact | None]
) -> None:
    """Both files of a pair are there, can be read, and have one size."""
    pictures = work.facts.of(picture_of.values(), 'picture')
    for facts, problem in ((pictures, 'picture is missing'), (maps, 'label map is missing')):
        work.report.defect_each(problem, [path for path, fact in facts.items() if fact is None], work.remedy)
        flaws = [(path, fact.flaw) for path, fact in facts.items() if fact and fact.flaw]
        work.report.defects_of_a_kind(flaws, work.remedy)
    others = []
    for name, path in map_of.items():
        picture, label_map = pictures[picture_of[name]], maps[path]
        if picture and label_map and not picture.flaw and not label_map.flaw and picture.size != label_map.size:
            size = f'is {label_map.width} x {label_map.height} pixels'
            others.append((path, f'{size}, its picture {picture_of[name]} is {picture.width} x {picture.height}'))
    work.report.defects_of_a_kind(others, work.remedy)


def check_values(work: Workplace, maps: Mapping[Path, Fact | None], legal: Collection[int]) -> None:
    """Maps hold legal values only."""
    allowed = frozenset(legal)
    wrong = {path: list(fact.other_values(allowed.__contains__)) for path, fact in maps.items() if fact}
    bad = [(path, f'has the values {values[:10]}, which are no labels') for path, values in wrong.items() if values]
    work.report.defects_of_a_kind(bad, work.remedy)
