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


def test_a_method_of_two_trainings_goes_on_from_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(step: str, command: list[str], log: Path, line: str, progress: Progress) -> None:
        commands.append((step, command))
        folder = Path(command[command.index('--work-dir') + 1])
        folder.mkdir(exist_ok=True)
        weights = tmp_path / f'{folder.name}.pth'
        weights.touch()
        (folder / 'last_checkpoint').write_text(str(weights))
        (folder / 'report.json').write_text('{"figures": {}}')

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(controls, 'run_step', run)
    method = METHODS['regionclip']
    controls.measure(method, {'words': method.config}, Finished(tmp_path), 0, Progress())
    first, second, test = commands
    names = (
        'train regionclip_lite0_pictures_pretrain',
        'train regionclip_lite0_pictures',
        'test regionclip_lite0_pictures',
    )
    assert tuple(step for step, _ in commands) == names
    assert not [part for part in first[1] if part.startswith('load_from')]
    assert f'load_from={tmp_path / "regionclip_lite0_pictures_pretrain.pth"}' in second[1]
    assert str(tmp_path / 'regionclip_lite0_pictures.pth') in test[1]
