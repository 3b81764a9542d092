"""Where things are kept between runs, and how files get there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE_VARIABLE = 'VLM_DENSE_CACHE'


def cache_root() -> Path:
    """The folder for downloads and text banks: ``$VLM_DENSE_CACHE``, or ``~/.cache/vlm_dense``."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / '.cache' / 'vlm_dense').expanduser()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new file that takes the place of ``path`` when the block ends well, and else leaves no trace.

    A reader sees the old file, the whole new file, or none; of concurrent writers the last one wins. The folder is
    made where it is missing.

    Raises:
        OSError: If the disk says no.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.stem[:16]}-', suffix='.tmp')
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp's 0o600 would shut other users of a shared folder out
        with temporary.open('rb') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
