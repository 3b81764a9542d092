"""What a check is told besides the file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from vlm_dense.datasets.picture_facts import Fact, Kind, read_facts
from vlm_dense.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class CheckOptions:
    """What to compare annotations with; without a part, what needs it is not looked at.

    Args:
        vocabulary: Words that the names, or the values of label maps, stand for.
        other_categories: ``'refuse'`` names that the vocabulary lacks, or ``'drop'`` to pass over them.
        pictures: Folder of the picture files. They are decoded, which takes most of the time.
        maps: Folder of the panoptic maps of a panoptic json.
        box_slack: Pixels by which a box may reach over the edge of its picture.
        first_label: Value of the first word in label maps.
        background_label: Another value that label maps may hold.
        ignore: A further value of pixels without label; 255, 65535 and values before the first word always are, unless
            they are words.
        map_suffix: End of the names of label maps.
        picture_suffix: End of the names of their pictures, which otherwise have the same path in their folder.
        listing: Text file with a path without suffix per line, where only those are of the split.
        objects: Whether boxes and masks are looked at; ids, names and files always are.
        read: Reads picture files; see ``read_facts``.
    """

    vocabulary: Vocabulary | None = None
    other_categories: str = 'refuse'
    pictures: Path | None = None
    maps: Path | None = None
    box_slack: float = 2.0
    first_label: int = 0
    background_label: int | None = None
    ignore: int | None = None
    map_suffix: str = '.png'
    picture_suffix: str = '.jpg'
    listing: Path | None = None
    objects: bool = True
    read: Callable[[Iterable[Path], Kind], dict[Path, Fact | None]] = read_facts
