"""The table of all methods on the built-in pictures."""

import json
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


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, list[str]]]:
    """Line and command by step; nothing is run, and every step leaves what it would."""
    commands = {}

    def run(step: str, command: list[str], log: Path, line: str, progress: Progress) -> None:
        commands[step] = (line, command)
        folder = Path(command[command.index('--work-dir') + 1])
        folder.mkdir(exist_ok=True)
        (tmp_path / f'{folder.name}.pth').touch()
        (folder / 'last_checkpoint').write_text(str(tmp_path / f'{folder.name}.pth'))
        (folder / 'report.json').write_text(json.dumps(dict(figures={}, of=folder.name)))

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(controls, 'run_step', run)
    return commands


@pytest.mark.parametrize(('name', 'trains'), [('maskclip', False), ('fvlm', True)])
def test_what_trains_nothing_is_tested_without_a_checkpoint(name: str, trains: bool, tmp_path: Path, ran: dict) -> None:
    config = METHODS[name].config
    kinds = {kind: path for kind, path in recipes(config, None, tmp_path).items() if kind != 'closed'}
    measured = controls.measure(METHODS[name], kinds, Finished(tmp_path), 0, Progress())
    stem, weights = Path(config).stem, str(tmp_path / f'{Path(config).stem}.pth')
    assert set(ran) == {f'test {stem}', f'test {stem}_shuffled'} | ({f'train {stem}'} if trains else set())
    assert all((weights in command) == trains for step, (_, command) in ran.items() if step.startswith('test'))
    assert set(measured.reports) == {'words', 'shuffled'}


def test_a_method_of_two_trainings_goes_on_from_the_first(tmp_path: Path, ran: dict) -> None:
    method = METHODS['regionclip']
    controls.measure(method, {'words': method.config}, Finished(tmp_path), 0, Progress())
    name = Path(method.config).stem
    assert list(ran) == [f'train {name}_pretrain', f'train {name}', f'test {name}']
    assert not [part for part in ran[f'train {name}_pretrain'][1] if part.startswith('load_from')]
    assert f'load_from={tmp_path / name}_pretrain.pth' in ran[f'train {name}'][1]
    assert f'{tmp_path / name}.pth' in ran[f'test {name}'][1]


def test_a_control_that_goes_on_waits_for_the_method(tmp_path: Path, ran: dict) -> None:
    method = METHODS['fcclip']
    kinds = recipes(method.config, None, tmp_path)
    measured = controls.measure(method, kinds, Finished(tmp_path), 0, Progress())
    name = Path(method.config).stem
    line, trained = ran[f'train {name}_closed']
    assert (line, f'load_from={tmp_path / name}.pth' in trained) == ('FC-CLIP, closed', True)
    assert f'{tmp_path / name}_closed.pth' in ran[f'test {name}_closed'][1]
    assert f'{tmp_path / name}.pth' in ran[f'test {name}_shuffled'][1]
    assert {kind: report['of'] for kind, report in measured.reports.items()} == {
        kind: Path(path).stem for kind, path in kinds.items()
    }
    assert len(ran) == 5
