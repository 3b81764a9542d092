"""Folders that are either complete or absent, and plain errors for disks that cannot be written."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from vlm_dense.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = '.writer'
# Where locks cannot tell whether the writer still lives, only a folder this old counts as abandoned.
ABANDONED_SECONDS = 24 * 3600
UNWRITABLE = {
    errno.ENOSPC: 'the disk is full',
    errno.EDQUOT: 'the quota is used up',
    errno.EROFS: 'the file system is read-only',
    errno.EACCES: 'permission is denied',
    errno.EPERM: 'permission is denied',
    errno.ENOTDIR: 'a part of the path is a file, not a folder',
    errno.EEXIST: 'a file of that name is in the way',
}


@contextlib.contextmanager
def storage_errors(target: Path, needed_bytes: int, remedy: str) -> Iterator[None]:
    """Turn the operating system's refusals to write into one plain error.

    Args:
        target: What is being written, for the message.
        needed_bytes: About how much room it takes.
        remedy: How to write it elsewhere.

    Raises:
        StorageError: If the disk is full, read-only or forbidden.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise storage_error(target, needed_bytes, UNWRITABLE[error.errno], remedy) from error


def storage_error(target: Path, needed_bytes: int, reason: str, remedy: str) -> StorageError:
    """The error for a target that could not be written, with the room it needs and the room there is."""
    room = f'it needs about {needed_bytes / 1e6:.0f} MB'
    with contextlib.suppress(OSError):
        existing = next(parent for parent in target.absolute().parents if parent.exists())
        room += f', {shutil.disk_usage(existing).free / 1e6:.0f} MB are free there'
    return StorageError(f'{target} cannot be written: {reason} ({room}); nothing half-written was kept. {remedy}')


@contextlib.contextmanager
def atomic_folder(target: Path, needed_bytes: int, remedy: str) -> Iterator[Path]:
    """A new empty folder beside ``target`` that takes its place only if the block ends without error.

    A block that fails removes its folder; a killed one leaves a sibling ``<name>.tmp-*`` that the next call removes.

    Raises:
        StorageError: If the disk is full, read-only or forbidden.
    """
    with storage_errors(target, needed_bytes, remedy):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target)
        work = Path(tempfile.mkdtemp(prefix=f'{target.name}.tmp-', dir=target.parent))
        work.chmod(0o755)
        lock = (work / LOCK_NAME).open('w')
        try:
            _try_lock(lock)
            yield work
            (work / LOCK_NAME).unlink()
            _replace_folder(work, target)
        finally:
            lock.close()
            shutil.rmtree(work, ignore_errors=True)


def remove_abandoned(target: Path) -> None:
    """Delete the working folders beside ``target`` whose writers no longer live."""
    for folder in target.parent.glob(f'{target.name}.tmp-*'):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / LOCK_NAME).open('r+') as lock:
            if fcntl is not None:
                return _try_lock(lock)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        return time.time() - folder.stat()[stat.ST_MTIME] > ABANDONED_SECONDS
    return False


def _try_lock(lock: IO[str]) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _replace_folder(new: Path, target: Path) -> None:
    """Put ``new`` where ``target`` is. A full folder cannot be renamed over, so the old one steps aside first."""
    if not target.exists():
        os.rename(new, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f'{target.name}.tmp-', dir=target.parent))
    os.rename(target, old / 'old')
    try:
        os.rename(new, target)
    except OSError:
        os.rename(old / 'old', target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
