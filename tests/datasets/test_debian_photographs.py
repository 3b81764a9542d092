"""Photographs through apt: complete or absent, whatever goes wrong on the way."""

import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from picture_support import GOOD_APT, GOOD_DPKG, KILLED_APT, KILLED_DPKG, LISTING, FakeDebian, picture_bytes

from vlm_dense.datasets.pictures.debian import fetch_photographs, is_complete, wanted_files
from vlm_dense.datasets.pictures.stamps import stamps_source
from vlm_dense.errors import MissingFileError, StorageError
from vlm_dense.folders import CACHE_VARIABLE


@pytest.fixture
def debian(tmp_path, monkeypatch):
    return FakeDebian(tmp_path, monkeypatch)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / 'cache'


def test_photographs_are_fetched_once_and_nothing_else_is_kept(debian, cache, monkeypatch):
    folder = fetch_photographs(cache)
    assert folder == cache / 'stamps'
    assert is_complete(folder)
    kept = {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}
    notes = {f'licences/{package}/copyright' for package in ('tuxpaint-stamps-default', 'tuxpaint-data')}
    assert kept == set(wanted_files()) | notes | {'complete.json'}
    assert [path.name for path in cache.iterdir()] == ['stamps']
    assert not list(cache.parent.rglob('escaped.txt'))
    monkeypatch.setenv('PATH', '')
    assert fetch_photographs(cache) == folder, 'a filled cache needs no apt'


def test_source_has_every_word_trimmed_to_its_object(debian, cache):
    source = stamps_source(cache)
    assert source.name == 'stamps'
    assert len(source.cutouts) == 198
    assert len(source.words) == 161
    assert len(source.backgrounds) == 17
    assert all(cutout.rgba_HW4.shape == (6, 6, 4) for cutout in source.cutouts)
    assert all(np.all(cutout.rgba_HW4[..., 3] == 255) for cutout in source.cutouts)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
@pytest.mark.parametrize(('name', 'script'), [('apt-get', KILLED_APT), ('dpkg-deb', KILLED_DPKG)])
def test_killed_in_the_middle_leaves_nothing_that_is_trusted(debian, cache, name, script):
    debian.program(name, script)
    child = os.fork()
    if not child:
        fetch_photographs(cache)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    leftovers = [path.name for path in cache.iterdir()]
    assert len(leftovers) == 1
    assert leftovers[0].startswith('stamps.tmp-')
    debian.program('apt-get', GOOD_APT)
    debian.program('dpkg-deb', GOOD_DPKG)
    assert is_complete(fetch_photographs(cache))
    assert [path.name for path in cache.iterdir()] == ['stamps']


@pytest.mark.parametrize('damage', ['shorten', 'change', 'remove', 'no marker'])
def test_damaged_cache_is_fetched_again(debian, cache, damage):
    folder = fetch_photographs(cache)
    victim = folder / wanted_files()[7]
    good = victim.read_bytes()
    if damage == 'shorten':
        victim.write_bytes(good[:-5])
    elif damage == 'change':
        victim.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif damage == 'remove':
        victim.unlink()
    else:
        (folder / 'complete.json').unlink()
    assert not is_complete(folder)
    assert is_complete(fetch_photographs(cache))
    assert victim.read_bytes() == good == picture_bytes(wanted_files()[7])


def test_no_apt_names_the_remedy(cache, monkeypatch):
    monkeypatch.setenv('PATH', '')
    with pytest.raises(MissingFileError) as caught:
        fetch_photographs(cache)
    assert 'no apt-get and no dpkg-deb' in str(caught.value)
    assert '--source drawn' in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize('stage', ['listing', 'download'])
def test_no_package_lists_or_no_network_names_the_remedy(debian, cache, stage):
    complaint = 'echo "W: a warning" >&2; echo "E: Unable to locate package tuxpaint-data" >&2; exit 100'
    debian.program('apt-get', complaint if stage == 'listing' else LISTING + complaint)
    with pytest.raises(MissingFileError) as caught:
        fetch_photographs(cache)
    message = str(caught.value)
    assert 'E: Unable to locate package tuxpaint-data' in message
    assert "check the network and apt's list of sources" in message
    assert '--source drawn' in message
    assert list(cache.iterdir()) == []


def test_machine_without_package_lists_reads_its_own_as_any_user(debian, cache):
    no_lists = 'case "$*" in *Dir::State::Lists*) ;; *) echo "E: Unable to locate package" >&2; exit 100;; esac\n'
    update = 'case "$*" in *update) exit 0;; esac\n'
    debian.program('apt-get', no_lists + update + GOOD_APT)
    folder = fetch_photographs(cache)
    assert is_complete(folder)
    assert not (folder / 'apt').exists()


def test_damaged_package_is_refused(debian, cache):
    package = next(debian.repository.glob('tuxpaint-stamps*'))
    package.write_bytes(package.read_bytes()[:30_000])
    with pytest.raises(MissingFileError, match=r'damaged|not in this machine'):
        fetch_photographs(cache)
    assert list(cache.iterdir()) == []


def test_photographs_that_the_package_lacks_are_named(debian, cache):
    debian.publish(leave_out=('stamps/animals/mammals/equines/zebra.png', 'templates/cliff.jpg'))
    with pytest.raises(MissingFileError) as caught:
        fetch_photographs(cache)
    assert '2 listed photographs' in str(caught.value)
    assert 'zebra.png' in str(caught.value)
    assert 'cliff.jpg' in str(caught.value)
    assert list(cache.iterdir()) == []


def test_full_disk_seen_by_apt(debian, cache):
    debian.program('apt-get', LISTING + 'echo "E: Write error - write (28: No space left on device)" >&2; exit 100')
    check_full_disk_message(cache)


def test_full_disk_seen_while_unpacking(debian, cache, monkeypatch):
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, 'No space left on device', str(path))

    monkeypatch.setattr(Path, 'write_bytes', full)
    check_full_disk_message(cache)


def check_full_disk_message(cache: Path) -> None:
    with pytest.raises(StorageError) as caught:
        fetch_photographs(cache)
    message = str(caught.value)
    assert str(cache / 'stamps') in message
    assert 'needs about 200 MB' in message
    assert CACHE_VARIABLE in message
    assert list(cache.iterdir()) == []


def test_cache_under_a_file_is_a_storage_error(debian, tmp_path):
    (tmp_path / 'taken').write_text('')
    with pytest.raises(StorageError, match='taken'):
        fetch_photographs(tmp_path / 'taken')
