import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vlm_dense.errors import StorageError
from vlm_dense.text import TextBank, Vocabulary, cache
from vlm_dense.text.cache import read_tensor, write_tensor

WORDS = Vocabulary.from_words(['cat', 'dog', 'owl'])


@pytest.fixture
def cached_bank(hash_encoder, tmp_path: Path) -> TextBank:
    return TextBank(hash_encoder, 'single', cache_dir=str(tmp_path / 'cache'))


def files_in(bank: TextBank) -> list[Path]:
    assert bank.cache_dir is not None
    return sorted(bank.cache_dir.iterdir())


def test_round_trip_is_bit_equal(tmp_path: Path) -> None:
    tensor = torch.randn(5, 7)
    write_tensor(tmp_path / 'deep' / 'x.safetensors', tensor, {'encoder': 'e'})
    assert torch.equal(read_tensor(tmp_path / 'deep' / 'x.safetensors', rows=5), tensor)
    assert [path.name for path in (tmp_path / 'deep').iterdir()] == ['x.safetensors']
    assert read_tensor(tmp_path / 'none.safetensors', rows=5) is None


def test_second_bank_reads_and_does_not_encode(cached_bank: TextBank) -> None:
    first = cached_bank(WORDS)
    asked = len(cached_bank.encoder.asked)
    second = TextBank(cached_bank.encoder, 'single', cache_dir=str(cached_bank.cache_dir))(WORDS)
    assert torch.equal(first, second)
    assert len(cached_bank.encoder.asked) == asked == 3
    assert files_in(cached_bank) == [cached_bank.cache_file(WORDS.words)]


def test_file_name_sees_encoder_prompt_and_words(hash_encoder, tmp_path: Path) -> None:
    other = type(hash_encoder)('other weights')
    names = {
        TextBank(encoder, prompt, cache_dir=str(tmp_path)).cache_file(words)
        for encoder, prompt, words in [
            (hash_encoder, 'single', ('a', 'b')),
            (other, 'single', ('a', 'b')),
            (hash_encoder, 'name', ('a', 'b')),
            (hash_encoder, 'single', ('b', 'a')),
            (hash_encoder, 'single', ('a b',)),
        ]
    }
    assert len(names) == 5


@pytest.mark.parametrize('damage', ['truncate', 'flip', 'empty', 'other rows', 'text'])
def test_damaged_file_is_rebuilt_with_a_warning(
    cached_bank: TextBank, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = cached_bank(WORDS)
    (path,) = files_in(cached_bank)
    content = bytearray(path.read_bytes())
    if damage == 'truncate':
        path.write_bytes(content[:-5])
    elif damage == 'flip':
        content[-3] ^= 1
        path.write_bytes(content)
    elif damage == 'empty':
        path.write_bytes(b'')
    elif damage == 'other rows':
        write_tensor(path, expected[:2], {})
    else:
        path.write_text('not a tensor at all, but long enough to hold a header')
    again = TextBank(cached_bank.encoder, 'single', cache_dir=str(cached_bank.cache_dir))
    assert torch.equal(again(WORDS), expected)
    assert 'made again' in caplog.text
    assert str(path) in caplog.text
    assert torch.equal(read_tensor(path, rows=3), expected)


def test_sound_file_gives_no_warning(cached_bank: TextBank, caplog: pytest.LogCaptureFixture) -> None:
    cached_bank(WORDS)
    TextBank(cached_bank.encoder, 'single', cache_dir=str(cached_bank.cache_dir))(WORDS)
    assert not caplog.records


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_full_disk_is_a_storage_error_and_leaves_nothing(
    cached_bank: TextBank, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.os, step, full)
    with pytest.raises(StorageError, match=r'No space left on device.*set cache_dir=None') as caught:
        cached_bank(WORDS)
    assert str(cached_bank.cache_dir) in str(caught.value)
    assert files_in(cached_bank) == []


def test_killed_writer_leaves_no_file_that_is_trusted(cached_bank: TextBank, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache.os, 'fsync', killed)
        with pytest.raises(KeyboardInterrupt):
            cached_bank(WORDS)
    assert not cached_bank.cache_file(WORDS.words).exists()
    expected = TextBank(cached_bank.encoder, 'single')(WORDS)
    assert torch.equal(cached_bank(WORDS), expected)


def test_cache_dir_is_a_file(hash_encoder, tmp_path: Path) -> None:
    (tmp_path / 'cache').write_text('')
    with pytest.raises(StorageError, match='cannot be cached'):
        TextBank(hash_encoder, 'single', cache_dir=str(tmp_path / 'cache'))(WORDS)


def test_unreadable_file(cached_bank: TextBank, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_bank(WORDS)

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(Path, 'read_bytes', refuse)  # root reads any file, so the permission itself cannot be taken
    with pytest.raises(StorageError, match='may not be read'):
        read_tensor(files_in(cached_bank)[0], rows=3)


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
