"""What weights are called out there, and where on this machine they may already lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

URL_CACHE = Path('~/.cache/clip')  # where open_clip keeps weights that it fetched by URL


@dataclass(frozen=True)
class Place:
    """One place that was searched.

    Attributes:
        text: How a message calls it.
        path: What lies there, if it may be used.
        problem: Why it may not be used, where something lies there.
    """

    text: str
    path: Path | None = None
    problem: str = ''

    def __str__(self) -> str:
        return f'{self.text} ({self.problem})' if self.problem else self.text


class Remote(Protocol):
    """A file or folder on a server."""

    def under(self, folder: Path) -> Iterator[Place]:
        """Where it may lie in a folder of the user's."""

    def cached(self) -> Iterator[Place]:
        """Where it may lie in the caches of the libraries that fetch it."""

    def fetch(self, to: Path | None) -> Path:
        """Download it, into a folder in which ``under`` finds it again, or into its cache.

        Raises:
            MissingFileError: If that fails; nothing half is left behind where it would be found.
        """


def hub_checkpoints() -> Path:
    """The folder of torch's hub, in which mmengine keeps weights too."""
    import torch

    return Path(torch.hub.get_dir(), 'checkpoints')
