"""Miniature data sets, provided and prepared."""

from collections.abc import Callable
from pathlib import Path

import pytest
from miniatures import provide

from vlm_dense.datasets.preparation import Report, check, prepare


class Place:
    """One miniature data set: its folder of archives, and the root it is prepared in."""

    def __init__(self, folder: Path, dataset: str) -> None:
        self.dataset, self.archives, self.root = dataset, folder / 'archives', folder / 'data'
        self.archives.mkdir()
        self.root.mkdir()
        provide(dataset, self.archives, self.root)

    def prepare(self, **how) -> Report:
        return prepare(self.dataset, self.root, **{'archives': self.archives, 'partial': True, **how})

    def check(self, **how) -> Report:
        return check(self.dataset, self.root, **{'partial': True, **how})


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], Place]:
    """A data set whose archives are written and not yet prepared."""
    return lambda dataset: Place(tmp_path, dataset)


@pytest.fixture
def prepared(place) -> Callable[[str], Place]:
    """A data set that was prepared well."""

    def make(dataset: str) -> Place:
        made = place(dataset)
        report = made.prepare()
        assert report.good, [str(defect) for defect in report.defects]
        return made

    return make
