"""The command that prepares and checks data sets."""

import importlib.util
import sys
from pathlib import Path

import pytest
from miniatures import provide

TOOL = Path(__file__).parents[2] / 'tools' / 'data' / 'prepare.py'
COUNT = 'instances_val2017.json: 3 pictures instead of 5,000; '


@pytest.fixture
def run(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location('prepare_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
        return tool.main()

    return call


@pytest.fixture
def coco(tmp_path):
    provide('coco', tmp_path / 'archives', tmp_path / 'data')
    return ['coco', '--root', str(tmp_path / 'data')], ['--archives', str(tmp_path / 'archives')]


def test_prepares_and_says_so(run, coco, capsys):
    where, archives = coco
    assert run(*where, *archives, '--partial') == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f'coco below {where[-1]}: complete and right'
    assert any(line.startswith('note: ') and COUNT in line for line in lines)
    assert run(*where, '--check', '--partial') == 0


def test_status_is_one_while_a_defect_is_left(run, coco, capsys):
    where, archives = coco
    assert run(*where, *archives) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [COUNT in line for line in lines if line.startswith('defect: ')] == [True]
    assert lines[-1].endswith('1 defects')


def test_says_what_is_missing_and_where_to_get_it(run, tmp_path, capsys):
    assert run('cityscapes', '--root', str(tmp_path)) == 1
    printed = capsys.readouterr().out
    for archive in ('leftImg8bit_trainvaltest.zip', 'gtFine_trainvaltest.zip'):
        assert f'get {archive} from cityscapes-dataset.com' in printed


def test_list_names_data_sets_protocols_and_archives(run, capsys):
    assert run('--list') == 0
    printed = capsys.readouterr().out
    assert 'ov_coco: OV-COCO, 48 base and 17 novel classes' in printed
    assert 'protocols: ov_coco, ov_coco_base, ov_coco_novel' in printed
    assert 'train2017.zip (for --train), from cocodataset.org' in printed


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        (['cocoa', '--root', '.'], "no data set 'cocoa'"),
        (['coco', '--archives', 'nowhere'], 'folder of archives nowhere does not exist'),
    ],
)
def test_one_error_line(run, capsys, arguments, error):
    assert run(*arguments) == 1
    assert capsys.readouterr().err.startswith(f'error: {error}')


@pytest.mark.parametrize('arguments', [[], ['coco', '--check', '--archives', '.']])
def test_arguments_that_contradict(run, arguments):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_every_protocol_has_a_data_set():
    from vlm_dense.datasets.preparation import DATA_SETS

    protocols = [protocol for entry in DATA_SETS.values() for protocol in entry.protocols]
    assert set(protocols) >= {'ov_lvis', 'lvis_minival_fixed', 'voc20b', 'cocostuff_156_15', 'refcoco+', 'odinw35'}
    text = (TOOL.parents[2] / 'docs' / 'datasets.md').read_text(encoding='utf-8')
    assert [name for name in (*DATA_SETS, *protocols) if f'`{name}`' not in text] == []
