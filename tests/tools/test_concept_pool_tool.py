"""The tool that counts words of captions, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from recipe_data import tool_module

ROOT = Path(__file__).resolve().parents[2]


def test_from_captions_to_a_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.txt').write_text('a dog on a beach\na dog\n')
    (tmp_path / 'b.txt').write_text('a cat\na dog\n')
    (tmp_path / 'list.txt').write_text('wombat\n')
    (tmp_path / 'refused.txt').write_text('beach\n')
    lists = ['--words', './list.txt', '--blacklist', './refused.txt', '--min-count', '2', '--out', 'pool.json']
    tool_module('concept_pool').main(['--captions', 'a.txt', 'b.txt', *lists])
    assert capsys.readouterr().out == 'pool.json: 2 words of 4 captions\n'
    found = json.loads((tmp_path / 'pool.json').read_text())
    assert found == dict(words=['dog', 'wombat'], counts=[3, 1], captions=4)


def test_a_user_reads_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / 'tools' / 'concept_pool.py'), '--captions', 'c.txt', '--out', 'pool.json']
    wrong = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "MissingFileError: there is no file of captions 'c.txt'" in wrong.stderr
