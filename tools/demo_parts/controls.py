"""A method and its controls: the same weights with novel words exchanged, and a head that knows no words."""

import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from demo_parts.reuse import Finished
from demo_parts.steps import Progress, run_step


@dataclass(frozen=True)
class Method:
    """A recipe on the built-in pictures.

    ``novel_and_base`` are the names of its two figures; ``words_at`` says where the figure of each word stands in the
    report of its metric: (key of the list or None, column). ``first`` is a recipe whose training its own goes on from.
    """

    name: str
    config: str
    novel_and_base: tuple[str, str]
    words_at: tuple[str | None, str]
    first: str | None = None


@dataclass
class Measured:
    """Reports of a method and of its controls, as its metric wrote them."""

    method: Method
    config: str
    checkpoint: Path | None
    reports: dict[str, dict] = field(default_factory=dict)

    def figure(self, which: int, kind: str = 'words') -> float:
        """Figure 0 (novel or unseen) or 1 (base or seen), in percent."""
        return float(self.reports[kind]['figures'][self.method.novel_and_base[which]])

    def novel_mean(self, words: Sequence[str]) -> float:
        """Mean figure over the words that were not in training and are in ``words``."""
        key, column = self.method.words_at
        rows = self.reports['words']['per_word']
        rows = rows[key] if key else rows
        values = [r[column] for r in rows if not r['is_base'] and r['word'] in words and r[column] is not None]
        return sum(values) / len(values) if values else float('nan')


def measure(method: Method, configs: Mapping[str, str], finished: Finished, seed: int, progress: Progress) -> Measured:
    """Train a recipe, where it trains anything, then evaluate it and its controls, as many at a time as may run.

    Args:
        method: What is measured.
        configs: Config of the method ('words') and of its controls: 'shuffled' has the same weights and novel words
            exchanged, 'closed' a head of its own that knows no words; each may be missing. What has a ``load_from``
            goes on from what the method learned.
        finished: Where logs, checkpoints and reports go, and which of them are already what they would become.
        seed: Of the training.
        progress: Where progress is shown.
    """
    run = _Run(method.name, finished, seed, progress)
    first = None if method.first is None else _train(run, method.first, None)
    measured = Measured(method, configs['words'], _train(run, configs['words'], first))

    def report_of(kind: str) -> dict:
        if kind == 'words':
            return _test(run, configs[kind], measured.checkpoint)
        beside = replace(run, line=f'{method.name}, {kind}')
        own = _train(beside, configs[kind], measured.checkpoint) if kind == 'closed' else measured.checkpoint
        return _test(beside, configs[kind], own)

    longest_first = sorted(configs, key=lambda kind: kind != 'closed')
    with ThreadPoolExecutor(len(configs)) as pool:
        measured.reports.update(zip(longest_first, pool.map(report_of, longest_first), strict=True))
    return measured


@dataclass(frozen=True)
class _Run:
    """What all steps of a method, or of one of its controls, share."""

    line: str
    finished: Finished
    seed: int
    progress: Progress


def _train(run: _Run, config: str, before: Path | None) -> Path | None:
    from mmengine.config import Config  # late: a wrong argument should be told at once

    settings, finished = Config.fromfile(config), run.finished
    if settings.get('train_cfg') is None:
        return None
    goes_on = before if settings.get('load_from') is not None else None
    name = Path(config).stem
    folder = finished.folder / name
    pointer = folder / 'last_checkpoint'
    if pointer.is_file() and not Path(pointer.read_text(encoding='utf-8').strip()).is_file():
        pointer.unlink()  # somebody removed the checkpoint
    command = ['tools/train.py', config, '--work-dir', str(folder), '--cfg-options']
    command += [] if goes_on is None else [f'load_from={goes_on}']
    # The demo evaluates by itself.
    command += [f'randomness.seed={run.seed}', 'train_cfg.val_interval=1000000', 'default_hooks.logger.interval=10']
    _run_once(run, f'train {name}', command, (Path(config), *([] if goes_on is None else [goes_on])), pointer)
    return Path(pointer.read_text(encoding='utf-8').strip())


def _test(run: _Run, config: str, checkpoint: Path | None) -> dict:
    name = Path(config).stem
    report = run.finished.folder / name / 'report.json'
    weights = [] if checkpoint is None else [checkpoint]
    command = ['tools/test.py', config, *map(str, weights), '--work-dir', str(report.parent)]
    command += ['--cfg-options', f'test_evaluator.out_file={report}', 'default_hooks.logger.interval=5']
    _run_once(run, f'test {name}', command, (Path(config), *weights), report)
    return json.loads(report.read_text(encoding='utf-8'))


def _run_once(run: _Run, step: str, command: list[str], inputs: Sequence[Path], output: Path) -> None:
    if run.finished.is_done(step, command, inputs, output):
        run.progress.tell(f'{run.line}: {step}: done before')
        return
    output.unlink(missing_ok=True)
    log = run.finished.folder / f'{step.split()[1]}.{step.split()[0]}.log'
    run_step(step, [sys.executable, *command], log, run.line, run.progress)
    run.finished.keep(step, command, inputs, output)
