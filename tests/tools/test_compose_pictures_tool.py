"""The command that composes the built-in pictures."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import vlm_dense.vlms
from vlm_dense.errors import MissingFileError

TOOL = Path(__file__).parents[2] / 'tools' / 'data' / 'compose_pictures.py'
SMALL = ['--source', 'drawn', '--train', '3', '--val', '1', '--test', '2', '--size', '64']


@pytest.fixture
def run(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location('compose_pictures_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, 'argv', [str(TOOL), '--out', str(tmp_path / 'pictures'), *arguments])
        return tool.main()

    return call


def test_says_which_source_it_used_and_counts(run, capsys):
    assert run(*SMALL) == 0
    first = capsys.readouterr().out
    assert 'composed' in first
    assert 'source: drawn' in first
    assert 'words: 96 = 64 base (0 known to the image teacher) + 32 novel' in first
    assert 'train: 3 scenes' in first
    assert run(*SMALL) == 0
    assert 'nothing to do' in capsys.readouterr().out


def test_one_error_line_and_exit_code(run, capsys):
    assert run(*SMALL, '--train', '0') == 1
    assert capsys.readouterr().err.startswith('error: train is 0')


def test_center_is_left_out_without_the_tower(run, tmp_path, capsys, monkeypatch):
    def absent():
        raise MissingFileError('no weights')

    monkeypatch.setattr(vlm_dense.vlms, 'ImageNetTower', absent)
    assert run(*SMALL, '--vlm-center') == 0
    assert 'left out, the image tower is not installed (no weights)' in capsys.readouterr().out
    assert not (tmp_path / 'pictures' / 'center.safetensors').exists()


def test_center_is_made_of_training_scenes_and_their_boxes(run, tmp_path, monkeypatch):
    asked = {}

    def means(tower, paths, boxes):
        asked.update(tower=tower, paths=paths, boxes=boxes)
        return {'crop': torch.arange(4.0), 'map16': torch.ones(4), 'map32': torch.zeros(4)}

    monkeypatch.setattr(vlm_dense.vlms, 'ImageNetTower', lambda: 'tower')
    monkeypatch.setattr(vlm_dense.vlms, 'mean_features', means)
    assert run(*SMALL, '--vlm-center') == 0
    folder = tmp_path / 'pictures'
    assert torch.equal(load_file(folder / 'center.safetensors')['crop'], torch.arange(4.0))
    assert [path.relative_to(folder).as_posix() for path in asked['paths']] == [
        f'train/images/{row:06d}.jpg' for row in range(3)
    ]
    annotations = json.loads((folder / 'train.json').read_text())['annotations']
    assert sum(map(len, asked['boxes'])) == len(annotations)
    x, y, width, height = annotations[0]['bbox']
    assert asked['boxes'][0][0].tolist() == [x, y, x + width, y + height]
    assert run(*SMALL, '--vlm-center') == 0, 'a center that is there is kept'
