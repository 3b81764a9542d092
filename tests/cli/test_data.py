"""``vlm-dense data check``: what it prints, writes and returns."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_dense.cli.main import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Five boxes of one picture, without a defect."""
    image = dict(id=1, file_name='a.png', width=60, height=40)
    boxes = [dict(id=n, image_id=1, category_id=n % 2 + 1, bbox=[n, 5, 20, 20]) for n in range(5)]
    content = dict(images=[image], annotations=boxes, categories=[dict(id=1, name='cat'), dict(id=2, name='dog')])
    (tmp_path / 'words.txt').write_text('cat\ndog\n')
    (tmp_path / 'words.json').write_text('{"words": ["cat", "dog"]}')
    (tmp_path / 'a.json').write_text(json.dumps(content))
    return tmp_path / 'a.json'


def spoil(file: Path) -> None:
    content = json.loads(file.read_text())
    for annotation in content['annotations']:
        annotation['bbox'][0] += 50
    content['categories'][1]['name'] = 'dogg'
    file.write_text(json.dumps(content))


def test_a_clean_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['data', 'check', str(file), '--vocabulary', str(file.with_name('words.txt'))]) == 0
    expected = f'{file} (COCO json: 2 categories, 1 images, 5 annotations): no defect\n'
    assert capsys.readouterr().out == expected


def test_a_line_per_kind_and_a_summary(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(file)
    arguments = ['data', 'check', str(file), '--vocabulary', str(file.with_name('words.txt'))]
    assert main(arguments) == 1
    names, boxes, summary = capsys.readouterr().out.splitlines()
    assert names == (
        'name-not-in-vocabulary: 1 names that the vocabulary lacks: '
        "categories[1]: 'dogg' is no word, the closest word is 'dog'"
    )
    assert boxes.startswith('box-outside-picture: 5 boxes that reach outside their picture: annotations[0] (a.png): ')
    assert boxes.endswith('; and 2 more')
    assert summary.endswith('6 defect(s) of 2 kind(s)')

    out = file.with_name('out.json')
    assert main([*arguments, '--all', '--json', str(out)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 6 + 1
    assert lines[-2].startswith('  annotations[4] (a.png): the box is [54, 5, 20, 20]')
    written = json.loads(out.read_text())
    assert written['counts'] == {'name-not-in-vocabulary': 1, 'box-outside-picture': 5}
    assert [defect['kind'] for defect in written['defects']] == ['name-not-in-vocabulary'] + 5 * ['box-outside-picture']
    assert main([*arguments, '--box-slack', '40']) == 1
    assert 'box-outside' not in capsys.readouterr().out


def test_a_folder_of_label_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'maps').mkdir()
    (tmp_path / 'words.txt').write_text('cat\ndog\n')
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / 'maps' / 'a.png')
    arguments = ['data', 'check', str(tmp_path / 'maps'), '--vocabulary', str(tmp_path / 'words.txt')]
    assert main(arguments) == 1
    assert 'a.png: value 2 (1 pixels) is no word' in capsys.readouterr().out
    assert main([*arguments, '--first-label', '1', '--background-label', '0']) == 0
    assert '1 label maps): no defect' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{}/gone.json'], 'does not exist'),
        (['{}/words.txt'], 'is not json'),
        (['{}/a.json', '--vocabulary', '{}/gone.txt'], 'no vocabulary file'),
        (['{}/a.json', '--pictures', '{}/gone'], 'is no folder'),
        (['{}/a.json', '--ignore', '0'], '--ignore means nothing'),
        (['{}', '--maps', '{}'], '--maps means nothing'),
        (['{}/a.json', '--maps', '{}'], 'no panoptic segments'),
        (['{}/words.json', '--pictures', '{}'], '--pictures means nothing'),
    ],
)
def test_user_errors(arguments: list[str], message: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['data', 'check', *(argument.format(file.parent) for argument in arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith('vlm-dense data: ')
    assert message in shown.err
    assert not shown.out
