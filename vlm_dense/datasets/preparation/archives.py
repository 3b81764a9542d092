"""Files taken out of official archives, or out of the folders that a user unpacked from them."""

import json
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from vlm_dense.datasets.pictures.storage import storage_errors
from vlm_dense.datasets.preparation.files import link_or_copy, placed
from vlm_dense.datasets.preparation.workplace import Workplace
from vlm_dense.errors import StorageError

BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, zipfile.LargeZipFile)


@dataclass(frozen=True)
class Take:
    """What to take out of an archive, and where to.

    Args:
        inside: A file in the archive (``*/name`` in any folder of it), or a folder (with a slash at its end).
        to: Path below the root: of the file, or of the folder that gets the folder's content.
        train: Whether only training needs it.
        ends: Of a folder, take only files whose names end so.
    """

    inside: str
    to: str
    train: bool = False
    ends: tuple[str, ...] = ('',)


@dataclass(frozen=True)
class Archive:
    """An official file: its name, the page that has it, and what to take out of it."""

    file: str
    page: str
    takes: tuple[Take, ...]


@dataclass(frozen=True)
class Member:
    """A file in an archive, of ``size`` bytes; ``plain`` is False for links and devices."""

    name: str
    size: int
    plain: bool
    open: Callable[[], IO[bytes]]
    path: Path | None = None


def unpack(work: Workplace, archive: Archive, folder: Path | None) -> None:
    """Put what is wanted of one archive in its place; report what is broken, unsafe or missing.

    Args:
        folder: Where the archive is, or what was unpacked from it.

    Raises:
        StorageError: If the disk is full or forbidden.
    """
    takes = [take for take in archive.takes if work.train or not take.train]
    source = find_source(folder, archive, takes) if folder else None
    if not takes or (source and is_unpacked(work, archive, source, takes)):
        return
    if source is None:
        _report_missing(work, archive, takes)
        return
    files: dict[str, int] = {}
    written, known = 0, len(work.report.defects)
    try:
        needed = source.stat().st_size if source.is_file() else 0
        with storage_errors(work.root, needed, 'Free some room, or choose another --root.'):
            for member in members(source, archive.file, takes):
                target = destination(work, member, takes, source)
                if target:
                    files[target.relative_to(work.root).as_posix()] = member.size
                    written += write_member(member, target)
    except StorageError:
        raise
    except (*BROKEN, OSError) as error:
        # What a damaged stream raises has no number of the operating system.
        if getattr(error, 'errno', None) is not None:
            raise
        work.report.defect(f'cannot be read to its end ({error})', source, f'get it again from {archive.page}')
        return
    _check_takes(work, archive, source, takes, files)
    if written:
        work.report.made.append(f'{source}: {written:,} files written, {len(files) - written:,} were there')
    if len(work.report.defects) == known:  # the next run has to find a defect again
        _remember(work, archive, source, takes, files)


def find_source(folder: Path, archive: Archive, takes: Sequence[Take]) -> Path | None:
    """The archive in ``folder``, or else the folder there that has what the archive would hold."""
    if (folder / archive.file).is_file():
        return folder / archive.file
    stem = archive.file.removesuffix('.gz').rsplit('.', 1)[0]
    # First the folder of the archive's name: val2017.zip may lie unpacked as val2017/val2017/ or as val2017/.
    for base in (folder / stem, folder):
        if any(_in_folder(base, take) for take in takes):
            return base
    return None


def members(source: Path, file: str, takes: Sequence[Take]) -> Iterator[Member]:
    """Every file in a zip or a tar (also compressed), the wanted ones of a folder, or one plain file."""
    if source.is_dir():
        for path in dict.fromkeys(path for take in takes for path in _in_folder(source, take)):
            name = path.relative_to(source).as_posix()
            yield Member(name, path.stat().st_size, True, partial(_file_content, path), path)
    elif file.endswith('.zip'):
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    plain = not stat.S_ISLNK(info.external_attr >> 16)
                    yield Member(info.filename, info.file_size, plain, partial(archive.open, info))
    elif file.endswith(('.tar', '.tar.gz', '.tgz')):
        with tarfile.open(source) as tar:
            for entry in tar:
                if not entry.isdir():
                    yield Member(entry.name, entry.size, entry.isreg(), partial(_tar_content, tar, entry))
    else:
        yield Member(file, source.stat().st_size, True, partial(_file_content, source), source)


def destination(work: Workplace, member: Member, takes: Sequence[Take], source: Path) -> Path | None:
    """Where a member goes; None if nobody wants it, or if it must not be taken."""
    name = member.name.removeprefix('./')
    for take in takes:
        rest = name.removeprefix(take.inside) if take.inside.endswith('/') else ''
        if not _is_wanted(name, rest, take):
            continue
        path = PurePosixPath(rest)
        if not member.plain or path.is_absolute() or '..' in path.parts or '\\' in rest:
            problem = f'holds {member.name}, which is a link or leaves its folder, and was left out'
            work.report.defect(problem, source, 'get the archive from its official page')
            return None
        if path.name.startswith('.'):  # what file managers leave beside pictures
            return None
        return work.root / take.to / rest if rest else work.root / take.to
    return None


def _is_wanted(name: str, rest: str, take: Take) -> bool:
    if take.inside.endswith('/'):
        return rest != name and rest.endswith(take.ends)
    return name == take.inside or f'*/{PurePosixPath(name).name}' == take.inside


def write_member(member: Member, target: Path) -> bool:
    """Write one file unless one of its size is there; say whether it was written."""
    if target.is_file() and target.stat().st_size == member.size:
        return False
    if member.path:
        link_or_copy(member.path, target)
        return True
    with placed(target) as part, member.open() as content, part.open('wb') as file:
        shutil.copyfileobj(content, file, 1 << 20)
        if file.tell() != member.size:
            raise EOFError(f'{member.name} has {file.tell()} of {member.size} bytes')
    return True


def is_unpacked(work: Workplace, archive: Archive, source: Path, takes: Sequence[Take]) -> bool:
    """Whether an earlier run took the same from the same archive, and every file of it still has its size."""
    # What is in a folder may change without a trace on the folder itself; walking it is cheap.
    if source.is_dir():
        return False
    try:
        record = json.loads(_record(work, archive).read_text(encoding='utf-8'))
        return record['of'] == _stamp(source, takes) and all(
            (work.root / name).stat().st_size == size for name, size in record['files'].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def _in_folder(folder: Path, take: Take) -> list[Path]:
    if take.inside.endswith('/'):
        found = sorted((folder / take.inside).rglob('*'))
        return [path for path in found if path.name.endswith(take.ends) and path.is_file()]
    name = take.inside.removeprefix('*/')
    return [path for path in (folder / name, *sorted(folder.glob(f'*/{name}'))) if path.is_file()]


def _file_content(path: Path) -> IO[bytes]:
    return path.open('rb')


def _tar_content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(entry)
    assert content is not None, 'members() opens regular files only'
    return content


def _record(work: Workplace, archive: Archive) -> Path:
    return work.records / f'{work.dataset}.{archive.file}.json'


def _remember(work: Workplace, archive: Archive, source: Path, takes: Sequence[Take], files: dict) -> None:
    with placed(_record(work, archive)) as part:
        part.write_text(json.dumps({'of': _stamp(source, takes), 'files': files}), encoding='utf-8')


def _stamp(source: Path, takes: Sequence[Take]) -> list:
    status = source.stat()
    return [
        str(source.absolute()),
        status.st_size,
        status.st_mtime_ns,
        [[take.inside, take.to, *take.ends] for take in takes],
    ]


def _check_takes(work: Workplace, archive: Archive, source: Path, takes: Sequence[Take], files: dict) -> None:
    for take in takes:
        if not any(name == take.to or name.startswith(take.to.rstrip('/') + '/') for name in files):
            remedy = f'get {archive.file} from {archive.page}'
            work.report.defect(f'holds no {take.inside}', source, remedy)


def _report_missing(work: Workplace, archive: Archive, takes: Sequence[Take]) -> None:
    for take in takes:
        target = work.root / take.to
        if not (target.is_file() or (target.is_dir() and any(target.iterdir()))):
            where = work.archives or 'a folder and name that with --archives'
            problem = f'missing, to be made from {take.inside} in {archive.file}'
            work.report.defect(problem, target, f'get {archive.file} from {archive.page} and put it into {where}')
