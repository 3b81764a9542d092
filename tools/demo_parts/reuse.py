"""Steps that need not run again: what they would read is what they read when they ended."""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CODE = ('vlm_dense', 'projects', 'configs', 'tools')
LIBRARIES = ('torch', 'torchvision', 'mmengine', 'mmdet', 'mmsegmentation', 'transformers', 'open_clip_torch')
PICTURES = Path('data/pictures')


class Finished:
    """Remembers, beside the outputs of a step, a digest of all that the step read.

    Code and pictures are looked at once, at the first question, and should stay as they are as long as this is used.

    Args:
        folder: Outputs of the steps.
        fresh: Forget what was done before.
    """

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        self.folder, self.fresh = folder, fresh
        self.count = 0

    def is_done(self, step: str, command: Iterable[str], inputs: Iterable[Path], output: Path) -> bool:
        """Whether a step ended before with the same command, code, libraries, pictures and other inputs."""
        mark = self._mark(step)
        if self.fresh or not output.is_file() or not mark.is_file():
            return False
        done = mark.read_text(encoding='utf-8') == self._digest(command, [*inputs, output])
        self.count += done
        return done

    def keep(self, step: str, command: Iterable[str], inputs: Iterable[Path], output: Path) -> None:
        """Note that a step has ended well."""
        self._mark(step).write_text(self._digest(command, [*inputs, output]), encoding='utf-8')

    def _mark(self, step: str) -> Path:
        return self.folder / f'{step.replace(" ", "-")}.done'

    def _digest(self, command: Iterable[str], files: Iterable[Path]) -> str:
        """SHA-256 over a command, files, the code, the pictures and the versions of the libraries."""
        digest = hashlib.sha256('\0'.join([*command, self._surroundings]).encode())
        for file in files:
            digest.update(_file(file))
        return digest.hexdigest()

    @cached_property
    def _surroundings(self) -> str:
        code = [file for folder in CODE for ending in ('*.py', '*.json') for file in sorted(Path(folder).rglob(ending))]
        pictures = [file for file in sorted(PICTURES.rglob('*')) if file.is_file()]
        digest = hashlib.sha256(' '.join(f'{name} {_version(name)}' for name in LIBRARIES).encode())
        for file in [*code, *pictures]:
            digest.update(_file(file))
        return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a fork under another name
        return 'unknown'


def _file(path: Path) -> bytes:
    return f'{path}\0'.encode() + hashlib.sha256(path.read_bytes()).digest()
