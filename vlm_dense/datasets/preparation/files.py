"""Files that appear under their names whole or not at all, many thousand at a time."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that is renamed to it when the block ends well.

    A killed run leaves ``.<name>.part``, which the next one overwrites. Unlike ``vlm_dense.folders.whole_file`` it does
    not wait for the disk: data sets have 100,000 small files, and they can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    part.unlink(missing_ok=True)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give ``source`` a second name; on another disk, copy it."""
    with placed(target) as part:
        try:
            os.link(source.resolve(), part)  # of a symbolic link, Linux would link the link
        except OSError:
            shutil.copyfile(source, part)


def link_folder(source: Path, target: Path) -> bool:
    """Make ``target`` a relative symbolic link to the folder ``source``, unless it is there or cannot be made.

    Returns:
        Whether ``target`` is there now.
    """
    if not target.exists() and source.is_dir() and any(source.iterdir()):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()), target_is_directory=True)
        except OSError:
            return False
    return target.exists()


def is_newer(target: Path, *sources: Path) -> bool:
    """Whether ``target`` was written after every one of ``sources``."""
    if not target.is_file():
        return False
    written = target.stat().st_mtime_ns
    return all(source.stat().st_mtime_ns <= written for source in sources)
