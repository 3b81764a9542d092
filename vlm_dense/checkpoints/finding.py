"""Finding weights: explicit path, local folders, caches, and the hub only where it may be asked."""

import os
from collections.abc import Iterator
from pathlib import Path

from vlm_dense.checkpoints.remotes import Place, Remote
from vlm_dense.checkpoints.specs import FORMS, Wanted, parse_wanted
from vlm_dense.checkpoints.switches import why_not_fetch
from vlm_dense.errors import MissingFileError

LOCAL_FOLDER = Path('checkpoints')
FOLDERS = 'VLM_DENSE_WEIGHTS'


def find_weights(wanted: str | os.PathLike[str], asked: bool = False) -> Path:
    """Find weights, in this order: explicit path, ``./checkpoints`` and ``VLM_DENSE_WEIGHTS``, caches, hub.

    The last step downloads, and only with ``asked`` or ``VLM_DENSE_OFFLINE=0``, and never with
    ``VLM_DENSE_OFFLINE=1`` or ``HF_HUB_OFFLINE=1``.

    Args:
        wanted: Path of a file or folder, ``open_clip:NAME:TAG``, ``hf:REPO[@REVISION]`` or just ``REPO`` (a whole
            model of transformers), ``hf://OWNER/REPO/FILE[@REVISION]``, or a URL.
        asked: Whether the user asked to download just this.

    Returns:
        A file; for a repository, the folder of its files.

    Raises:
        MissingFileError: If it is nowhere; the message lists each place and the command that fetches it.
        ConfigError: If a name has the wrong form.
    """
    explicit = Path(wanted).expanduser()
    if explicit.exists():
        return explicit
    parsed = parse_wanted(str(wanted))
    if parsed is not None:
        return find(parsed, asked)
    places = [Place(f"'{explicit}' (current folder: '{Path.cwd()}')")]
    for folder in weight_folders():
        path = folder / explicit
        places.append(Place(f"'{path}'", path if path.exists() else None))
    path_found = next((place.path for place in places if place.path), None)
    if path_found is None:
        raise MissingFileError(_not_found(f"'{wanted}'", places, f'Give the path of the file, {FORMS}.'))
    return path_found


def find(wanted: Wanted, asked: bool = False) -> Path:
    """As ``find_weights``, for weights whose name has been read already."""
    places = []
    for place in search(wanted.remotes):
        if place.path is not None:
            return place.path
        places.append(place)
    refusal = why_not_fetch(asked)
    if not refusal:
        return fetch_first(wanted.remotes, None)
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
    paths = []
    for remotes in (wanted.remotes, *((part,) for part in wanted.parts)):
        present = next((place.path for place in search(remotes) if place.path), None) if to is None else None
        refusal = '' if present else why_not_fetch(asked=True)
        if refusal:
            raise MissingFileError(f'{wanted.title} cannot be fetched: {refusal}. Unset it where there is a network.')
        paths.append(present or fetch_first(remotes, to))
    return paths


def _not_found(title: str, places: list[Place], remedy: str) -> str:
    listed = '\n'.join(f'  - {place}' for place in places)
    return f'{title}: not on this machine. Searched, in this order:\n{listed}\n{remedy}'
