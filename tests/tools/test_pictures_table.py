"""The table of all methods on the built-in pictures."""

import sys
from pathlib import Path

import pytest
from recipes import ROOT

sys.path.insert(0, str(ROOT / 'tools'))
import pictures_table
from demo_parts import controls
from demo_parts.controls import Measured
from demo_parts.methods import METHODS
from demo_parts.recipes import recipes
from demo_parts.reuse import Finished
from demo_parts.steps import Progress


def found(name: str, novel: float, base: float, shuffled: float) -> Measured:
    measured = Measured(METHODS[name], METHODS[name].config, None)
    for kind, first in (('words', novel), ('shuffled', shuffled)):
        figures = dict(zip(METHODS[name].novel_and_base, (first, base), strict=True))
        measured.reports[kind] = dict(figures=figures)
    return measured


def test_methods_stand_together_and_figures_are_rounded() -> None:
    rows = []
    for seed in (0, 1):
        rows.append(pictures_table.as_row(found('lseg', 20.0, 19.04, 0.0), seed))
        rows.append(pictures_table.as_row(found('vild', 31.06, 53.0, 0.75), seed))
    lines = pictures_table.as_markdown(rows).splitlines()
    assert lines[2] == '| ViLD | AP50 | 0 | 31.1 | 53.0 | 0.8 |'
    assert lines[4] == '| LSeg | mIoU | 0 | 20.0 | 19.0 | 0.0 |'
    assert len(lines) == 6


@pytest.mark.parametrize(('name', 'trains'), [('maskclip', False), ('fvlm', True)])
def test_what_trains_nothing_is_tested_without_a_checkpoint(
    name: str, trains: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def run(step: str, command: list[str], log: Path, line: str, progress: Progress) -> None:
        steps.append(step.split()[0])
        folder = Path(command[command.index('--work-dir') + 1])
        folder.mkdir(exist_ok=True)
        (tmp_path / 'x.pth').touch()
        (folder / 'last_checkpoint').write_text(str(tmp_path / 'x.pth'))
        (folder / 'report.json').write_text('{"figures": {}}')
        assert (str(tmp_path / 'x.pth') in command) == (trains and step.startswith('test'))

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(controls, 'run_step', run)
    configs = recipes(METHODS[name].config, None, tmp_path)
    kinds = {kind: configs[kind] for kind in ('words', 'shuffled')}
    measured = controls.measure(METHODS[name], kinds, Finished(tmp_path), 0, Progress())
    assert steps == (['train'] if trains else []) + ['test', 'test']
    assert set(measured.reports) == {'words', 'shuffled'}
