"""The Tux Paint photographs, from Debian's packages through apt, without root and without installing anything."""

import contextlib
import csv
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from threading import Event, Thread

from tqdm import tqdm

from vlm_dense.datasets.pictures.captions import caption_file
from vlm_dense.datasets.pictures.storage import atomic_folder, storage_error
from vlm_dense.errors import MissingFileError
from vlm_dense.folders import cache_root

PACKAGES = ('tuxpaint-stamps-default', 'tuxpaint-data')
NEEDED_BYTES = 200_000_000  # both packages (169 MB) and what is unpacked of them (18 MB)
SHARE = 'usr/share/tuxpaint/'
COMPLETE = 'complete.json'
OWN_LISTS = 'apt'
DRAWN_REMEDY = 'or use drawn cut-outs, which need no download (--source drawn)'
CACHE_REMEDY = 'Free some room, or set VLM_DENSE_CACHE to a folder on another disk.'
LISTS_REMEDY = f"check the network and apt's list of sources, {DRAWN_REMEDY}."
# Only root needs it: apt drops to a user that may not write into our folder, and warns about that.
APT = ('apt-get', '-q', '-o', 'APT::Sandbox::User=root', '-o', 'Acquire::Retries=2', '-o', 'Acquire::http::Timeout=30')

logger = logging.getLogger(__name__)


def read_list(name: str) -> list[dict[str, str]]:
    """Rows of ``stamps.csv`` or ``backgrounds.csv``, the lists that ship with the package."""
    lines = files(__package__).joinpath(name).read_text(encoding='utf-8').splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith('#')))


def wanted_files() -> list[str]:
    """Paths below ``usr/share/tuxpaint`` of all photographs in the two lists, and of the captions of the stamps."""
    stamps = [f'stamps/{row["stamp"]}' for row in read_list('stamps.csv')]
    captions = [caption_file(stamp) for stamp in stamps]
    return stamps + captions + [f'templates/{row["photo"]}' for row in read_list('backgrounds.csv')]


def fetch_photographs(cache: Path | None = None) -> Path:
    """Make sure that the photographs are in the cache, and say where.

    Args:
        cache: Folder for downloads; `cache_root` by default.

    Returns:
        Folder with ``stamps/``, ``templates/`` and ``licences/``; every listed file was compared with its checksum.

    Raises:
        MissingFileError: If there is no apt, its package lists are absent, or the download fails.
        StorageError: If the cache cannot be written.
    """
    folder = (cache or cache_root()) / 'stamps'
    if is_complete(folder):
        return folder
    _require_tools()
    with atomic_folder(folder, NEEDED_BYTES, CACHE_REMEDY) as work:
        for package in _download(work, folder):
            _unpack(package, work)
            package.unlink()
        _check_all_there(work)
        _write_marker(work)
    logger.info('photographs are in %s', folder)
    return folder


def is_complete(folder: Path) -> bool:
    """Whether every listed photograph is in the folder with the size and checksum noted when it was unpacked."""
    try:
        noted = json.loads((folder / COMPLETE).read_text(encoding='utf-8'))
        return all(noted[name] == _fingerprint(folder / name) for name in wanted_files())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _require_tools() -> None:
    absent = [tool for tool in ('apt-get', 'dpkg-deb') if shutil.which(tool) is None]
    if absent:
        raise MissingFileError(
            f'the Tux Paint photographs come from Debian packages, and this machine has no {" and no ".join(absent)}; '
            f'copy a filled {cache_root() / "stamps"} from a Debian or Ubuntu machine, {DRAWN_REMEDY}.'
        )


def _download(work: Path, target: Path) -> list[Path]:
    """Download the packages into ``work``."""
    own: tuple[str, ...] = ()
    try:
        listing = _apt('--print-uris', 'download', *PACKAGES, cwd=work, target=target)
    except MissingFileError:
        # A fresh machine has no package lists yet.
        own = _own_lists(work, target)
        listing = _apt(*own, '--print-uris', 'download', *PACKAGES, cwd=work, target=target)
    total = sum(int(size) for size in re.findall(r"^'\S+' \S+ (\d+)", listing, flags=re.MULTILINE))
    logger.info('downloading %s from Debian (%.0f MB, once)', ' and '.join(PACKAGES), total / 1e6)
    with _progress(work, total):
        _apt(*own, 'download', *PACKAGES, cwd=work, target=target)
    shutil.rmtree(work / OWN_LISTS, ignore_errors=True)
    packages = [path for name in PACKAGES for path in work.glob(f'{name}_*.deb')]
    if len(packages) != len(PACKAGES):
        raise MissingFileError(f'apt-get brought {len(packages)} of the packages {", ".join(PACKAGES)}; {LISTS_REMEDY}')
    return packages


def _own_lists(work: Path, target: Path) -> tuple[str, ...]:
    """Read Debian's package lists into ``work``, which needs no root, and return the options that use them."""
    logger.info("reading Debian's package lists")
    for folder in ('lists/partial', 'archives/partial'):
        (work / OWN_LISTS / folder).mkdir(parents=True)
    own = ('-o', f'Dir::State::Lists={work / OWN_LISTS / "lists"}', '-o', f'Dir::Cache={work / OWN_LISTS}')
    _apt(*own, 'update', cwd=work, target=target)
    return own


def _apt(*arguments: str, cwd: Path, target: Path) -> str:
    done = subprocess.run(
        (*APT, *arguments), cwd=cwd, env={**os.environ, 'LC_ALL': 'C'}, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return done.stdout
    if 'No space left' in done.stderr:
        raise storage_error(target, NEEDED_BYTES, 'the disk is full', CACHE_REMEDY)
    complaints = [line for line in done.stderr.splitlines() if line.startswith(('E:', 'Err'))] or ['no reason given']
    raise MissingFileError(f'apt-get could not bring {", ".join(PACKAGES)} ({complaints[0]}); {LISTS_REMEDY}')


@contextlib.contextmanager
def _progress(work: Path, total: int) -> Iterator[None]:
    """Show how many bytes lie in ``work`` until the block ends; nothing is drawn where there is no terminal."""
    done = Event()

    def watch() -> None:
        with tqdm(total=total, unit='B', unit_scale=True, desc='photographs', disable=None, leave=False) as bar:
            while not done.wait(0.2):
                bar.update(_bytes_below(work) - bar.n)

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _bytes_below(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # apt renames files while they are listed
        total = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    return total


def _unpack(package: Path, work: Path) -> None:
    """Take the listed photographs and the licence notes out of a package; the rest is not written."""
    wanted = {f'{SHARE}{name}': work / name for name in wanted_files()}
    name = package.name.split('_')[0]
    for note in ('copyright', 'changelog.gz'):
        wanted[f'usr/share/doc/{name}/{note}'] = work / 'licences' / name / note
    with subprocess.Popen(('dpkg-deb', '--fsys-tarfile', str(package)), stdout=subprocess.PIPE) as unpacker:
        try:
            with tarfile.open(fileobj=unpacker.stdout, mode='r|') as archive:
                for member in archive:
                    target = wanted.get(member.name.removeprefix('./'))
                    content = archive.extractfile(member) if target and member.isfile() else None
                    if target and content:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(content.read())
        except tarfile.TarError as error:
            raise MissingFileError(f'the package {package.name} arrived damaged ({error}); run it again.') from error


def _check_all_there(work: Path) -> None:
    absent = [name for name in wanted_files() if not (work / name).is_file()]
    if absent:
        shown = ', '.join(absent[:10]) + (f' and {len(absent) - 10} more' if len(absent) > 10 else '')
        raise MissingFileError(
            f"{len(absent)} listed photographs are not in this machine's version of {', '.join(PACKAGES)}: {shown}; "
            f'use the version named at the top of vlm_dense/datasets/pictures/stamps.csv, {DRAWN_REMEDY}.'
        )


def _write_marker(work: Path) -> None:
    noted = {name: _fingerprint(work / name) for name in wanted_files()}
    noted['fetched'] = [time.strftime('%Y-%m-%d'), ' '.join(PACKAGES)]
    (work / COMPLETE).write_text(json.dumps(noted, indent=0), encoding='utf-8')


def _fingerprint(path: Path) -> list:
    content = path.read_bytes()
    return [len(content), hashlib.sha256(content).hexdigest()]
