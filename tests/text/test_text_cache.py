import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from vlm_dense import folders
from vlm_dense.checkpoints.row_files import ALIGNMENT, KEY_BYTES
from vlm_dense.errors import StorageError
from vlm_dense.text import cache
from vlm_dense.text.cache import read_rows, read_tensor, read_unchecked, write_rows, write_tensor


def keys(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, KEY_BYTES), dtype=torch.uint8)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_round_trip_is_bit_equal(tmp_path: Path, dtype: torch.dtype) -> None:
    path, text_KD, row_keys = tmp_path / 'deep' / 'x.safetensors', torch.randn(5, 7).to(dtype), keys(5)
    write_rows(path, text_KD, row_keys, {'encoder': 'e'})
    stored = read_rows(path)
    assert torch.equal(stored.text_KD, text_KD)
    assert stored.text_KD.dtype == dtype
    assert torch.equal(stored.row_keys, row_keys)
    assert torch.equal(read_unchecked(path).row_keys, row_keys)
    assert read_unchecked(path).metadata['encoder'] == 'e'
    assert torch.equal(safetensors.torch.load_file(path)['text_KD'], text_KD)
    assert [found.name for found in (tmp_path / 'deep').iterdir()] == ['x.safetensors']
    assert read_rows(tmp_path / 'none.safetensors') is None


def test_rows_lie_at_aligned_addresses_whatever_the_header_holds(tmp_path: Path) -> None:
    for count in range(1, 40):
        path = tmp_path / f'{count}.safetensors'
        write_rows(path, torch.randn(count, 3), keys(count), {'names': 'x' * count})
        assert read_rows(path).text_KD.data_ptr() % ALIGNMENT == 0


def test_rows_are_mapped_not_read(tmp_path: Path) -> None:
    """They stay usable, and the same, after the file was replaced and removed."""
    path = tmp_path / 'x.safetensors'
    text_KD = torch.randn(64, 512)
    write_rows(path, text_KD, keys(64), {})
    stored = read_rows(path)
    maps = Path('/proc/self/maps')
    if maps.is_file():
        assert str(path) in maps.read_text()
    write_rows(path, torch.zeros(64, 512), keys(64), {})
    path.unlink()
    assert torch.equal(stored.text_KD, text_KD)


def test_other_users_may_read(tmp_path: Path) -> None:
    write_tensor(tmp_path / 'x.safetensors', torch.zeros(1, 1), {})
    assert stat.S_IMODE((tmp_path / 'x.safetensors').stat().st_mode) & 0o044 == 0o044


@pytest.mark.parametrize('damage', ['truncate', 'flip a row', 'flip a key', 'empty', 'text'])
def test_damage_is_found(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / 'x.safetensors'
    write_rows(path, torch.randn(4, 8), keys(4), {})
    content = bytearray(path.read_bytes())
    if damage == 'truncate':
        content = content[:-5]
    elif damage == 'empty':
        content = bytearray()
    elif damage == 'text':
        content = bytearray(b'not a table at all, but long enough to hold a header')
    else:
        content[-3 if damage == 'flip a key' else -100] ^= 1
    path.write_bytes(content)
    assert read_rows(path) is None
    assert 'made again' in caplog.text
    assert str(path) in caplog.text


def test_a_table_of_other_size_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / 'x.safetensors'
    write_tensor(path, torch.zeros(3, 2), {})
    assert read_tensor(path, rows=3) is not None
    assert read_tensor(path, rows=4) is None
    assert 'made again' in caplog.text


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_full_disk_is_a_storage_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders.os, step, full)
    with pytest.raises(StorageError, match=r'No space left on device.*set cache_dir=None') as caught:
        write_tensor(tmp_path / 'x.safetensors', torch.zeros(1, 1), {})
    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'x.safetensors'
    write_tensor(path, torch.zeros(1, 1), {})

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(cache, '_map', refuse)  # root reads any file, so the permission itself cannot be taken
    with pytest.raises(StorageError, match='may not be read'):
        read_rows(path)


def test_two_processes_write_the_same_file(tmp_path: Path) -> None:
    script = """
import sys, torch
from pathlib import Path
from vlm_dense.text.cache import read_tensor, write_tensor
path, tensor = Path(sys.argv[1]), torch.full((64, 512), float(sys.argv[2]))
for _ in range(40):
    write_tensor(path, tensor, {})
    found = read_tensor(path, rows=64)
    assert found is not None and found.unique().numel() == 1
"""
    path = tmp_path / 'bank.safetensors'
    writers = [
        subprocess.Popen([sys.executable, '-c', script, str(path), value], stderr=subprocess.PIPE, text=True)
        for value in '12'
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
        assert 'damaged' not in errors
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert read_tensor(path, rows=64).unique().item() in (1.0, 2.0)
