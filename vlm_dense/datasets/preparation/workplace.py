"""What every step of a preparation works with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlm_dense.datasets.preparation.facts import FileFacts
from vlm_dense.datasets.preparation.findings import Report


@dataclass
class Workplace:
    """One run on one data set.

    Args:
        dataset: Name of the data set.
        root: Folder of all data sets.
        archives: Folder with the official archives, or with what was unpacked from them.
        counts: Official numbers by file or folder below ``root``; any one of several is right.
        train: Whether the training part is wanted too.
        report: Takes findings.
        by_hand: Whether a user unpacks the data set without this tool.
        facts: Reads picture files.
    """

    dataset: str
    root: Path
    archives: Path | None
    counts: Mapping[str, Sequence[int]]
    train: bool
    report: Report
    by_hand: bool = False
    facts: FileFacts = field(init=False)

    def __post_init__(self) -> None:
        self.facts = FileFacts(self.records / f'{self.dataset}.facts.json')

    @property
    def records(self) -> Path:
        """Where a run leaves what the next one need not do again."""
        return self.root / '.prepared'

    @property
    def remedy(self) -> str:
        """How to make a file that is missing or wrong."""
        if self.by_hand:
            return f'put the official files of {self.dataset} below {self.root} as docs/datasets.md shows'
        where = self.archives or 'DIR'
        return (
            f'delete what is wrong and run tools/data/prepare.py {self.dataset} --root {self.root} --archives {where}'
        )

    def count(self, what: str, found: int, place: str) -> None:
        """Compare a number with the official one of ``place``, a path below ``root``."""
        self.report.count(what, found, self.counts.get(place, ()), self.root / place)
