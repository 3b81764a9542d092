"""One small picture set of drawn cut-outs for all tests of this room."""

from pathlib import Path

import pytest
from picture_support import SMALL

from vlm_dense.datasets.pictures import compose_pictures


@pytest.fixture(scope='session')
def picture_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a composed set; tests must not change it."""
    out = tmp_path_factory.mktemp('composed') / 'pictures'
    assert compose_pictures(out, SMALL)['made']
    return out
