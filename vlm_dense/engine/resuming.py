"""Which checkpoint of a run can be trusted after the run was killed."""

import re
import zipfile
from pathlib import Path

from mmengine.runner.checkpoint import _load_checkpoint

PERIODIC = re.compile(r'^(?:epoch|iter)_(\d+)\.pth$')


def newest_checkpoint(work_dir: str) -> str | None:
    """The newest whole checkpoint of a run, None if there is none.

    ``last_checkpoint`` names it, unless the run was killed while that file or the checkpoint itself was being
    written; then the periodic checkpoints are tried, newest first.

    Args:
        work_dir: The run's folder; it may have been moved since.
    """
    folder = Path(work_dir)
    candidates = []
    pointer = folder / 'last_checkpoint'
    if pointer.is_file() and (named := pointer.read_text(encoding='utf-8').strip()):
        candidates += [Path(named), folder / Path(named).name]
    periodic = [(int(found[1]), file) for file in folder.glob('*.pth') if (found := PERIODIC.match(file.name))]
    candidates += [file for _, file in sorted(periodic, reverse=True)]
    return next((str(file) for file in candidates if is_whole(file)), None)


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: torch's format is a zip file, whose index comes last."""
    return checkpoint.is_file() and zipfile.is_zipfile(checkpoint)


def seed_of(checkpoint: str) -> int | None:
    """The seed of the run that wrote a checkpoint; None if the file does not say.

    Raises:
        CheckpointError, MissingFileError: If the file cannot be read.
    """
    # On the meta device: the weights stay on the disk.
    return _load_checkpoint(checkpoint, map_location='meta').get('meta', {}).get('seed')
