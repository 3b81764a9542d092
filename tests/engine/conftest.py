import socket
from pathlib import Path

import pytest
from tiny_runs import DETECTOR, SEGMENTOR, write_config, write_pictures

from vlm_dense.engine import check_config, read_config


@pytest.fixture(scope='session')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('tiny')
    write_pictures(folder)
    for name, text in (('detector', DETECTOR), ('segmentor', SEGMENTOR)):
        path = write_config(folder, name, text)
        # Imports all that the runs need, once for all processes that are forked from this one.
        check_config(read_config(str(path)))
    return folder


@pytest.fixture(autouse=True)
def _free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        monkeypatch.setenv('TEST_PORT', str(one.getsockname()[1]))
