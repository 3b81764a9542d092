"""The tool that counts words of captions, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_from_captions_to_a_pool(tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_text('a dog on a beach\na dog\n')
    (tmp_path / 'b.txt').write_text('a cat\na dog\n')
    (tmp_path / 'list.txt').write_text('wombat\n')
    (tmp_path / 'refused.txt').write_text('beach\n')
    command = [sys.executable, str(ROOT / 'tools' / 'concept_pool.py'), '--captions', 'a.txt', 'b.txt']
    command += ['--words', './list.txt', '--blacklist', './refused.txt', '--min-count', '2', '--out', 'pool.json']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'pool.json: 2 words of 4 captions\n'
    found = json.loads((tmp_path / 'pool.json').read_text())
    assert found == dict(words=['dog', 'wombat'], counts=[3, 1], captions=4)
    wrong = subprocess.run([*command, '--captions', 'c.txt'], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "MissingFileError: there is no file of captions 'c.txt'" in wrong.stderr
