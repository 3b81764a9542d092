import re
from pathlib import Path

import pytest

from vlm_dense.cli.main import main


@pytest.fixture
def built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, Path]:
    """A cache with one bank of the offline pair, and its vocabulary file."""
    words = tmp_path / 'words.txt'
    words.write_text('cat\ntabby cat\ntoaster\nzebra\n')
    assert main(['bank', 'build', str(words), '--encoder', 'pair', '--cache', str(tmp_path / 'banks')]) == 0
    assert '4 words x 1280' in capsys.readouterr().out
    return tmp_path / 'banks', words


def test_build_list_inspect_clear(built: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cache, words = built
    (file,) = cache.glob('*/*.safetensors')
    main(
        [
            'bank',
            'build',
            str(words),
            '--encoder',
            'pair',
            '--prompt',
            'name',
            '--dtype',
            'float16',
            '--cache',
            str(cache),
        ]
    )
    capsys.readouterr()

    assert main(['bank', 'list', '--cache', str(cache)]) == 0
    listed = capsys.readouterr().out
    assert len(re.findall(r'^[0-9a-f]{8}/[0-9a-f]{13}\s+4\s+1280\s+float', listed, re.MULTILINE)) == 2
    assert '2 banks' in listed

    identity = f'{file.parent.name[:8]}/{file.stem[:10]}'
    assert main(['bank', 'inspect', identity, '--cache', str(cache), '--nearest', 'cat', '--alike', '0.1']) == 0
    shown = capsys.readouterr().out
    assert str(file) in shown
    assert 'cat | tabby cat' in shown
    assert re.search(r'nearest to cat:\n  0\.\d+  tabby cat', shown)

    assert main(['bank', 'clear', '--older-than', '1', '--cache', str(cache)]) == 0
    assert file.is_file()
    assert main(['bank', 'clear', '--encoder', 'no such encoder', '--cache', str(cache)]) == 0
    assert file.is_file()
    assert main(['bank', 'clear', '--cache', str(cache)]) == 0
    assert 'removed 2 banks' in capsys.readouterr().out
    assert not list(cache.glob('*/*.safetensors'))


def test_a_recipe_names_the_bank(tmp_path: Path, built: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cache, words = built
    config = tmp_path / 'recipe.py'
    config.write_text(
        "model = dict(text_bank=dict(type='vlm_dense.TextBank', encoder=dict(type='vlm_dense.BridgedTextEncoder')))"
    )
    assert main(['bank', 'build', str(words), '--config', str(config), '--cache', str(cache)]) == 0
    assert len(list(cache.glob('*/*.safetensors'))) == 1  # the very bank that `built` made
    config.write_text('model = dict()')
    assert main(['bank', 'build', str(words), '--config', str(config), '--cache', str(cache)]) == 1
    assert 'has no model.text_bank' in capsys.readouterr().err


def test_a_damaged_bank_is_listed_as_such(built: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cache, _ = built
    (file,) = cache.glob('*/*.safetensors')
    file.write_bytes(file.read_bytes()[:-9])
    main(['bank', 'list', '--cache', str(cache)])
    assert 'DAMAGED' in capsys.readouterr().out
    assert main(['bank', 'inspect', str(file)]) == 1
    assert 'is damaged' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'named'),
    [
        (['build', 'no.txt', '--encoder', 'pair'], 'no.txt'),
        (['build', 'coco', '--encoder', 'clip'], "--encoder 'clip' is not known"),
        (['inspect', 'abc'], "'abc' is no file and 0 banks"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    assert main(['bank', *words, '--cache', str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert named in error
    assert len(error.strip().splitlines()) == 1


def test_an_unknown_neighbour_is_named(built: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = built[0].glob('*/*.safetensors')
    assert main(['bank', 'inspect', str(file), '--nearest', 'dog']) == 1
    assert "'dog' is not in this bank of 4 words" in capsys.readouterr().err
