"""The steps of the demo are the ordinary tools, run as a user runs them, with their progress shown."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from vlm_dense.errors import VlmDenseError

# mmengine's log lines: Iter(train) [ 50/300], Epoch(test) [ 10/150].
STEP = re.compile(r'\((?:train|test)\)\s+\[\s*(\d+)/(\d+)\]')
LAST_LINES = 15
# Faster than one after the other. Both may use all cores, so that one that is left alone does.
AT_ONCE = 2
_running = threading.BoundedSemaphore(AT_ONCE)
ENVIRONMENT = {
    'PYTHONUNBUFFERED': '1',
    # Threads that wait leave their core to the other step.
    'OMP_WAIT_POLICY': 'PASSIVE',
    # glibc keeps freed memory: else the system clears every large tensor anew, which took a sixth of the time.
    'MALLOC_TRIM_THRESHOLD_': str(2**32),
    'MALLOC_MMAP_THRESHOLD_': str(2**32),
}


class StepError(VlmDenseError, RuntimeError):
    """A tool ended with an error; the message holds its last lines and its log."""


class Progress:
    """One progress bar per line of work, below each other; without a terminal, a line at every quarter of a step."""

    def __init__(self) -> None:
        self._bars: dict[str, tqdm] = {}
        self._told: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for bar in self._bars.values():
            bar.close()

    def show(self, line: str, step: str, done: int, total: int) -> None:
        """Say how far a step of a line of work has come."""
        text = f'{line}: {step} {done}/{total}'
        with self._lock:
            if sys.stderr.isatty():
                self._draw(line, text, done, total)
            elif (quarter := (step, 4 * done // total)) != self._told.get(line):
                self._told[line] = quarter
                print(text, flush=True)

    def tell(self, text: str) -> None:
        """Print a line between the bars."""
        with self._lock:
            tqdm.write(text, file=sys.stdout)

    def _draw(self, line: str, text: str, done: int, total: int) -> None:
        if line not in self._bars:
            self._bars[line] = tqdm(
                position=len(self._bars), total=total, bar_format='{desc} {percentage:3.0f}%|{bar:20}|'
            )
        bar = self._bars[line]
        bar.set_description_str(text, refresh=False)
        bar.total, bar.n = total, done
        bar.refresh()


def run_step(name: str, command: list[str], log: Path, line: str, progress: Progress) -> None:
    """Run a tool, keep all it prints in ``log``, and show its progress.

    Waits while `AT_ONCE` others run.

    Raises:
        StepError: If it ends with an error.
    """
    threads = str(os.cpu_count() or 1)
    environment = os.environ | ENVIRONMENT | dict(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
    last: list[str] = []
    with (
        _running,
        log.open('w', encoding='utf-8') as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as run,
    ):
        assert run.stdout is not None
        for text in run.stdout:
            file.write(text)
            last = [*last[1 - LAST_LINES :], text]
            if found := STEP.search(text):
                progress.show(line, name, int(found[1]), int(found[2]))
    if run.returncode:
        raise StepError(f'{name} failed; its log is {log} and ends with:\n{"".join(last)}')
