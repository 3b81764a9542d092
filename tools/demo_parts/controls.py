"""A method and its controls: the same weights with novel words exchanged, and a head that knows no words."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo_parts.steps import Progress, run_step


@dataclass(frozen=True)
class Method:
    """A recipe on the built-in pictures.

    ``novel_and_base`` are the names of its two figures; ``words_at`` says where the figure of each word stands in the
    report of its metric: (key of the list or None, column).
    """

    name: str
    config: str
    novel_and_base: tuple[str, str]
    words_at: tuple[str | None, str]


@dataclass
class Measured:
    """Reports of a method and of its controls, as its metric wrote them."""

    method: Method
    config: str
    checkpoint: Path
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


def measure(method: Method, configs: Mapping[str, str], work_dir: Path, seed: int, progress: Progress) -> Measured:
    """Train a recipe and its closed-set control, and evaluate both and the shuffled control.

    Args:
        method: What is measured.
        configs: Config of the method ('words') and of its controls ('shuffled', 'closed').
        work_dir: Where logs, checkpoints and reports go.
        seed: Of the training.
        progress: Where progress is shown.
    """
    measured = Measured(method, configs['words'], _train(method, configs['words'], work_dir, seed, progress))
    for kind in ('words', 'shuffled'):
        measured.reports[kind] = _test(method, configs[kind], measured.checkpoint, work_dir, progress)
    closed = _train(method, configs['closed'], work_dir, seed, progress)
    measured.reports['closed'] = _test(method, configs['closed'], closed, work_dir, progress)
    return measured


def _train(method: Method, config: str, work_dir: Path, seed: int, progress: Progress) -> Path:
    name = Path(config).stem
    folder = work_dir / name
    command = [sys.executable, 'tools/train.py', config, '--work-dir', str(folder), '--cfg-options']
    # The demo evaluates by itself.
    command += [f'randomness.seed={seed}', 'train_cfg.val_interval=1000000', 'default_hooks.logger.interval=10']
    run_step(f'train {name}', command, work_dir / f'{name}.train.log', method.name, progress)
    return Path((folder / 'last_checkpoint').read_text(encoding='utf-8').strip())


def _test(method: Method, config: str, checkpoint: Path, work_dir: Path, progress: Progress) -> dict:
    name = Path(config).stem
    report = work_dir / name / 'report.json'
    report.unlink(missing_ok=True)
    command = [sys.executable, 'tools/test.py', config, str(checkpoint), '--work-dir', str(report.parent)]
    command += ['--cfg-options', f'test_evaluator.out_file={report}', 'default_hooks.logger.interval=5']
    run_step(f'test {name}', command, work_dir / f'{name}.test.log', method.name, progress)
    return json.loads(report.read_text(encoding='utf-8'))
