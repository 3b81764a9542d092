"""The form of an entry in the tables of data sets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vlm_dense.datasets.preparation.archives import Archive
from vlm_dense.datasets.preparation.workplace import Workplace

Step = Callable[[Workplace], None]


@dataclass(frozen=True)
class DataSet:
    """How one data set is prepared and checked.

    Args:
        title: What it is.
        archives: Official archives.
        links: Steps before unpacking, which make use of what other data sets have.
        converters: Steps after unpacking, in order.
        checks: Steps that only read.
        counts: Official numbers by file or folder below the root; any one of several is right.
        protocols: Protocols that read it.
        train_checks: Checks of the training part.
        inner: Archives inside the archives, by their folder below the root.
    """

    title: str
    protocols: tuple[str, ...]
    archives: tuple[Archive, ...] = ()
    links: tuple[Step, ...] = ()
    converters: tuple[Step, ...] = ()
    checks: tuple[Step, ...] = ()
    train_checks: tuple[Step, ...] = ()
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    inner: tuple[tuple[str, Archive], ...] = ()
