"""A server on this machine, caches that are empty, and tiny models of CLIP."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = 'c' * 40
TINY = 'vlm-dense-weights-tiny'
TINY_CONFIG = {
    'embed_dim': 16,
    'vision_cfg': {'image_size': 32, 'layers': 2, 'width': 64, 'patch_size': 16, 'head_width': 32},
    'text_cfg': {'context_length': 8, 'vocab_size': 99, 'width': 32, 'heads': 2, 'layers': 2},
}


@dataclass
class Server:
    """Serves ``files`` under their paths; a hub repository's files lie under its name.

    Attributes:
        breaks: Cuts each answer in half, as a connection that breaks off does.
        hides_length: Leaves out Content-Length.
        asked: Methods and paths of all requests.
    """

    url: str = ''
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: bool = False
    hides_length: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> bytes | None:
        path = path.split('?')[0].strip('/')
        if path.startswith('api/models/'):
            repo = path.removeprefix('api/models/').split('/revision/')[0]
            names = [name.removeprefix(f'{repo}/') for name in self.files if name.startswith(f'{repo}/')]
            siblings = [{'rfilename': name, 'size': len(self.files[f'{repo}/{name}'])} for name in names]
            return json.dumps({'id': repo, 'sha': COMMIT, 'siblings': siblings}).encode() if names else None
        return self.files.get(path.replace('/resolve/main/', '/'))


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            state.asked.append(f'{self.command} {self.path}')
            content = state.answer(self.path)
            self.send_response(404 if content is None else 200)
            content = content or b''
            if not state.hides_length:
                self.send_header('Content-Length', str(len(content)))
            self.send_header('ETag', f'"{len(content)}-{abs(hash(content))}"')
            self.send_header('X-Repo-Commit', COMMIT)
            self.end_headers()
            if with_body:
                is_cut = state.breaks and not self.path.startswith('/api/')
                self.wfile.write(content[: len(content) // 2] if is_cut else content)

        def log_message(self, *_: object) -> None:
            """Not into the test's output."""

    http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    state.url = f'http://127.0.0.1:{http.server_port}'
    threading.Thread(target=http.serve_forever, daemon=True, kwargs={'poll_interval': 0.01}).start()
    yield state
    http.shutdown()
    http.server_close()


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without weights: every place that is searched lies in the folder returned."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    for module in ('urls', 'specs'):
        monkeypatch.setattr(f'vlm_dense.checkpoints.{module}.URL_CACHE', tmp_path / 'clip')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.delenv('VLM_DENSE_WEIGHTS', raising=False)
    monkeypatch.delenv('VLM_DENSE_OFFLINE', raising=False)
    return tmp_path


@pytest.fixture
def online(empty_home: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server stands for the whole network, which may be asked."""
    for name in ('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', server.url)
    # The address is kept in two more places, of which versions of huggingface_hub read one or the other.
    template = f'{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    for place in ('constants', 'file_download'):
        monkeypatch.setattr(f'huggingface_hub.{place}.HUGGINGFACE_CO_URL_TEMPLATE', template, raising=False)
    template = server.url + '/{repo_id}/resolve/{revision}/{filename}'
    monkeypatch.setattr('huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE', template)
    return server


@pytest.fixture(scope='session')
def add_architecture(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Register a tiny architecture of open_clip under a name."""
    import open_clip

    folder = tmp_path_factory.mktemp('architectures')

    def add(name: str, **changes: object) -> str:
        (folder / f'{name}.json').write_text(json.dumps({**TINY_CONFIG, **changes}))
        open_clip.add_model_config(folder / f'{name}.json')
        return name

    return add


@pytest.fixture(scope='session')
def tiny(add_architecture: Callable[..., str]) -> str:
    """Plain GELU; its sibling ``tiny + '-quickgelu'`` has the other activation."""
    add_architecture(f'{TINY}-quickgelu', quick_gelu=True)
    return add_architecture(TINY)


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """What goes through mmengine's current logger."""
    import logging

    from mmengine.logging import MMLogger

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('INFO')
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)
