"""Finding weights: explicit path, local folders, caches, the network."""

import os
from collections.abc import Iterator
from pathlib import Path

from vlm_dense.checkpoints.packages import packaged_file
from vlm_dense.checkpoints.remotes import Place, Remote
from vlm_dense.checkpoints.specs import FORMS, Wanted, parse_wanted
from vlm_dense.checkpoints.switches import why_not_fetch
from vlm_dense.errors import ConfigError, MissingFileError

LOCAL_FOLDER = Path('checkpoints')
FOLDERS = 'VLM_DENSE_WEIGHTS'
PACKAGE = 'package:'


def find_weights(wanted: str | os.PathLike[str]) -> Path:
    """Find weights, in this order: explicit path, ``./checkpoints`` and ``VLM_DENSE_WEIGHTS``, caches, network.

    The last step downloads, and says so in the log; ``VLM_DENSE_OFFLINE=1`` or ``HF_HUB_OFFLINE=1`` forbid it.

    Args:
        wanted: Path of a file or folder, ``open_clip:NAME:TAG``, ``hf:REPO[@REVISION]`` or just ``REPO`` (a whole
            model of transformers), ``hf://OWNER/REPO/FILE[@REVISION]``, ``package:NAME/PATH`` (what an installed Python
            package brings along), or a URL.

    Returns:
        A file; for a repository, the folder of its files.

    Raises:
        MissingFileError: If it is nowhere; the message lists each place and the command that fetches it.
        ConfigError: If a name has the wrong form.
    """
    if str(wanted).startswith(PACKAGE):
        return packaged_file(*_package_and_path(str(wanted)))
    explicit = Path(wanted).expanduser()
    if explicit.exists():
        return explicit
    parsed = parse_wanted(str(wanted))
    if parsed is not None:
        return find(parsed)
    places = [Place(f"'{explicit}' (current folder: '{Path.cwd()}')")]
    for folder in weight_folders():
        path = folder / explicit
        places.append(Place(f"'{path}'", path if path.exists() else None))
    path_found = next((place.path for place in places if place.path), None)
    if path_found is None:
        raise MissingFileError(_not_found(f"'{wanted}'", places, f'Give the path of the file, {FORMS}.'))
    return path_found


def _package_and_path(wanted: str) -> tuple[str, str]:
    package, _, path = wanted.removeprefix(PACKAGE).partition('/')
    if not package.isidentifier() or not path:
        raise ConfigError(f"'{wanted}' is not of the form package:NAME/PATH, NAME being what is imported.")
    return package, path


def find(wanted: Wanted) -> Path:
    """As ``find_weights``, for weights whose name has been read already."""
    places = []
    for place in search(wanted.remotes):
        if place.path is not None:
            return place.path
        places.append(place)
    refusal = why_not_fetch()
    if not refusal:
        try:
            return _fetch_all(wanted, None)[0]
        except MissingFileError as error:
            refusal = str(error)
    remedy = (
        f'Fetch them once with: vlm-dense fetch {wanted.spec}\n'
        'or give the path of the file instead of the tag or the name.'
    )
    raise MissingFileError(_not_found(wanted.title, [*places, Place('the network', problem=refusal)], remedy))


def search(remotes: tuple[Remote, ...]) -> Iterator[Place]:
    """All places on this machine at which one of the files may lie, in order."""
    for folder in weight_folders():
        if not folder.is_dir():
            yield Place(f"'{folder}'", problem='no such folder')
            continue
        for remote in remotes:
            yield from remote.under(folder)
    if not os.environ.get(FOLDERS):
        yield Place(f'the folders in {FOLDERS}', problem='not set')
    for remote in remotes:
        yield from remote.cached()


def weight_folders() -> list[Path]:
    """``./checkpoints``, then the folders that ``VLM_DENSE_WEIGHTS`` names (separated as in PATH)."""
    named = [Path(name).expanduser() for name in os.environ.get(FOLDERS, '').split(os.pathsep) if name]
    return [LOCAL_FOLDER, *named]


def fetch_first(remotes: tuple[Remote, ...], to: Path | None) -> Path:
    """Download the first of several files that its server has.

    Raises:
        MissingFileError: If none of them can be fetched, with the reason for each.
    """
    reasons = []
    for remote in remotes:
        try:
            return remote.fetch(to)
        except MissingFileError as error:
            reasons.append(error)
    raise MissingFileError('\n'.join(map(str, reasons))) from reasons[-1]


def fetch(spec: str, to: Path | None = None) -> list[Path]:
    """Download weights that the user asked for, unless they are on this machine and no folder is named.

    Args:
        spec: As for ``find_weights``, but no path.
        to: Folder to put them in, in which ``find_weights`` finds them again; their cache by default.

    Returns:
        The files or folders: the weights, then what is needed beside them.

    Raises:
        MissingFileError: If the network may not be asked, or does not give them.
        ConfigError: If the name has another form.
    """
    wanted = parse_wanted(spec)
    if wanted is None:
        raise MissingFileError(f"'{spec}' names nothing that can be fetched. Write {FORMS}.")
    refusal = why_not_fetch()
    if refusal and (to is not None or not all(_present(remotes) for remotes in _everything(wanted))):
        raise MissingFileError(f'{wanted.title} cannot be fetched: {refusal}. Unset it where there is a network.')
    return _fetch_all(wanted, to)


def _fetch_all(wanted: Wanted, to: Path | None) -> list[Path]:
    """The weights, then what is needed beside them; what is on this machine is not fetched again."""
    found = []
    for remotes in _everything(wanted):
        present = _present(remotes) if to is None else None
        found.append(present or fetch_first(remotes, to))
    return found


def _everything(wanted: Wanted) -> list[tuple[Remote, ...]]:
    return [wanted.remotes, *((part,) for part in wanted.parts)]


def _present(remotes: tuple[Remote, ...]) -> Path | None:
    return next((place.path for place in search(remotes) if place.path), None)


def _not_found(title: str, places: list[Place], remedy: str) -> str:
    listed = '\n'.join(f'  - {place}' for place in places)
    return f'{title}: not on this machine. Searched, in this order:\n{listed}\n{remedy}'
