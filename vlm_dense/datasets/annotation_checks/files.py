"""Picture files: there, whole, of the size that is said, each content once."""

from collections.abc import Iterable
from pathlib import Path

from vlm_dense.datasets.annotation_checks.boxes import Size
from vlm_dense.datasets.annotation_checks.defects import Defects
from vlm_dense.datasets.annotation_checks.options import CheckOptions
from vlm_dense.datasets.picture_facts import Fact
from vlm_dense.errors import MissingFileError


def require_folder(folder: Path, option: str) -> Path:
    """The folder.

    Raises:
        MissingFileError: If it is none.
    """
    if not folder.is_dir():
        raise MissingFileError(f"'{folder}' is no folder. Give {option} the folder that the names are relative to.")
    return folder


class PictureFiles:
    """Reads picture files and reports what is wrong with them; a path that was read before is not read again."""

    def __init__(self, options: CheckOptions, defects: Defects) -> None:
        assert options.pictures is not None, 'callers look first'
        self.folder = require_folder(options.pictures, '--pictures')
        self._read = options.read
        self.defects = defects
        self.sizes: dict[str, Size | None] = {}
        self._names: dict[str, str] = {}

    def check(self, wanted: Iterable[tuple[str, Size | None]]) -> None:
        """Look at files.

        Args:
            wanted: Path below the folder, and width and height that the annotations say, where they do.
        """
        said = dict(reversed(list(wanted)))  # of a name listed twice the first counts
        names = [name for name in reversed(said) if name not in self.sizes]
        facts = self._read((self.folder / name for name in names), 'picture')
        for name in names:
            fact = facts[self.folder / name]
            self.sizes[name] = None if fact is None or fact.flaw else fact.size
            self._report(name, fact, said[name])

    def _report(self, name: str, fact: Fact | None, said: Size | None) -> None:
        if fact is None:
            self.defects.add('missing-picture', name, f'is not in {self.folder}')
            return
        if fact.error:
            self.defects.add('unreadable-picture', name, fact.error)
            return
        if said is not None and fact.size != said:
            what = f'the file has {fact.width} x {fact.height} pixels, the annotations say {said[0]} x {said[1]}'
            self.defects.add('picture-size-differs', name, what)
        first = self._names.setdefault(fact.digest, name)
        if first != name:
            self.defects.add('same-content', name, f'has the same bytes as {first}')


def usable_map(name: str, fact: Fact | None, folder: Path, size: Size | None, defects: Defects) -> Fact | None:
    """The fact about a label map or panoptic map if its values can be looked at; what is wrong is reported.

    Args:
        name: Its path below ``folder``.
        size: Width and height of its picture, where they are known.
    """
    if fact is None:
        defects.add('missing-map', name, f'is not in {folder}')
        return None
    if fact.flaw:
        defects.add('unreadable-map' if fact.error else 'map-channels', name, fact.flaw)
        return None
    if size is not None and fact.size != size:
        defects.add('map-size-differs', name, f'is {fact.width} x {fact.height}, its picture {size[0]} x {size[1]}')
    return fact


def names_in(folder: Path, end: str) -> list[str]:
    """Paths of the files in a folder and its sub-folders, relative and without their common end; no hidden ones."""
    found = (path for path in folder.rglob(f'*{end}') if not path.name.startswith('.') and path.is_file())
    return sorted(path.relative_to(folder).as_posix().removesuffix(end) for path in found)
