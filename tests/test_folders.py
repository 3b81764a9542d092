"""The cache folder, and files that are there whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from vlm_dense.folders import CACHE_VARIABLE, cache_root, whole_file


def test_cache_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_root() == Path.home() / '.cache' / 'vlm_dense'


def test_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / 'center.safetensors'
    with whole_file(path) as file:
        file.write_bytes(b'old')

    def fail(source, target):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patched:
        patched.setattr(os, 'replace', fail)
        with pytest.raises(OSError, match='No space'), whole_file(path) as file:
            file.write_bytes(b'new')
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b'old']
