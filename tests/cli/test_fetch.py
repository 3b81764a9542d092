import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vlm_dense.checkpoints import find_weights
from vlm_dense.cli.main import main


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine with one file; the folders of this user are empty."""
    for name in ('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE', 'VLM_DENSE_OFFLINE', 'VLM_DENSE_WEIGHTS'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'served').mkdir()
    (tmp_path / 'served' / 'w.pth').write_bytes(b'weights')

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / 'served'))

        def log_message(self, *_: object) -> None:
            """Not into the test's output."""

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True, kwargs={'poll_interval': 0.01}).start()
    yield f'http://127.0.0.1:{server.server_port}/w.pth'
    server.shutdown()
    server.server_close()


def test_prints_the_path_and_finds_it_again(url: str, capsys) -> None:
    assert main(['fetch', url]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1])
    assert path.read_bytes() == b'weights'
    assert find_weights(url) == path


def test_into_a_folder(url: str, capsys, monkeypatch) -> None:
    assert main(['fetch', url, '--to', 'mine']) == 0
    assert Path('mine/w.pth').read_bytes() == b'weights'
    monkeypatch.setenv('VLM_DENSE_WEIGHTS', 'mine')
    assert find_weights(url) == Path('mine/w.pth')


def test_offline_refuses(url: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv('VLM_DENSE_OFFLINE', '1')
    assert main(['fetch', url]) == 1
    assert 'VLM_DENSE_OFFLINE=1 is set' in capsys.readouterr().err
    assert not list(Path('torch').rglob('*'))


@pytest.mark.parametrize('spec', ['open_clip:ViT-B-33:openai', 'open_clip:ViT-B-32', './x.pth', 'hf:'])
def test_wrong_names(url: str, capsys, spec: str) -> None:
    assert main(['fetch', spec]) == 1
    assert capsys.readouterr().err.startswith('vlm-dense fetch: ')


HELP = """
import sys
from vlm_dense.cli.main import main
try:
    main(['fetch', '--help'])
finally:
    print('torch' in sys.modules)
"""


def test_help_does_not_import_torch() -> None:
    done = subprocess.run([sys.executable, '-c', HELP], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == 'False', done.stderr
    assert 'open_clip:NAME:TAG' in done.stdout
