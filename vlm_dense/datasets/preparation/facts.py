"""Facts about picture files, remembered from one run to the next."""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from vlm_dense.datasets.picture_facts import Fact, Kind, read_fact, read_facts
from vlm_dense.datasets.preparation.files import placed


class FileFacts:
    """Facts about files, remembered between runs until a file's length or time changes.

    Args:
        store: JSON file that remembers; a place that cannot be written only costs reading again.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.known: dict[str, list] = {}
        with contextlib.suppress(OSError, ValueError):
            self.known = json.loads(store.read_text(encoding='utf-8'))

    def of(self, paths: Iterable[Path], kind: Kind) -> dict[Path, Fact | None]:
        """A fact per path; see ``read_facts``."""
        return read_facts(paths, kind, self._one)

    def save(self) -> None:
        """Remember for the next run, if there is a root to remember in."""
        if not self.store.parent.parent.is_dir():
            return
        with contextlib.suppress(OSError), placed(self.store) as part:
            part.write_text(json.dumps(self.known), encoding='utf-8')

    def _one(self, path: Path, kind: Kind) -> Fact | None:
        try:
            status = path.stat()
        except (OSError, ValueError):  # not there, or a name that no file can have
            return None
        key, stamp = f'{kind} {path.absolute()}', [status.st_size, status.st_mtime_ns]
        known = self.known.get(key)
        if known and known[:2] == stamp:
            return Fact(*known[2:])
        fact = read_fact(path, kind)
        if fact and not fact.flaw:
            self.known[key] = [*stamp, *fact]
        return fact
