"""Official archives that are broken, unsafe, missing, or read by a run that is killed."""

import io
import os
import signal
import tarfile
import zipfile

import pytest
from miniatures.packing import photograph, write_files, write_tar, write_zip

from vlm_dense.datasets.preparation import archives
from vlm_dense.datasets.preparation.archives import Archive, Take, unpack
from vlm_dense.datasets.preparation.findings import Report
from vlm_dense.datasets.preparation.workplace import Workplace

ZIP = Archive('set.zip', 'example.org', (Take('inside/', 'out/'),))
TAR = Archive('set.tar.gz', 'example.org', (Take('inside/', 'out/'),))
FILES = {'inside/a.txt': b'a' * 1000, 'inside/deep/b.txt': b'b', 'other/c.txt': b'c'}


@pytest.fixture
def work(tmp_path):
    (tmp_path / 'archives').mkdir()
    work = Workplace('some', tmp_path / 'data', tmp_path / 'archives', {}, False, Report())
    work.root.mkdir()
    return work


def lines(work):
    return [str(defect) for defect in work.report.defects]


def names(work):
    return sorted(path.relative_to(work.root).as_posix() for path in work.root.rglob('*') if path.is_file())


@pytest.mark.parametrize(('archive', 'write'), [(ZIP, write_zip), (TAR, write_tar)])
def test_takes_what_is_wanted(work, archive, write):
    write(work.archives / archive.file, FILES)
    unpack(work, archive, work.archives)
    assert lines(work) == []
    assert names(work)[1:] == ['out/a.txt', 'out/deep/b.txt']
    assert (work.root / 'out/a.txt').read_bytes() == FILES['inside/a.txt']


@pytest.mark.parametrize(('archive', 'write'), [(ZIP, write_zip), (TAR, write_tar)])
def test_truncated_archive(work, archive, write):
    noise = {f'inside/{number}.jpg': photograph(number, 200, 200) for number in range(20)}
    path = work.archives / archive.file
    write(path, noise)
    path.write_bytes(path.read_bytes()[:-2000])
    unpack(work, archive, work.archives)
    assert len(lines(work)) == 1
    assert lines(work)[0].startswith(f'{path}: cannot be read to its end (')
    assert lines(work)[0].endswith('; get it again from example.org')
    whole = {name.replace('inside', 'out'): content for name, content in noise.items()}
    for name in names(work):
        assert (work.root / name).read_bytes() == whole[name], 'no half file under a final name'


def test_damaged_member(work):
    path = work.archives / ZIP.file
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        archive.writestr('inside/a.txt', b'the words that will be changed')
    path.write_bytes(path.read_bytes().replace(b'changed', b'chanced'))
    unpack(work, ZIP, work.archives)
    assert 'Bad CRC-32' in lines(work)[0]
    assert names(work) == []


@pytest.mark.parametrize('name', ['inside/../../evil.txt', 'inside/..\\evil.txt', 'inside//tmp/evil.txt'])
def test_member_that_leaves_its_folder(work, name):
    write_zip(work.archives / ZIP.file, {**FILES, name: b'evil'})
    unpack(work, ZIP, work.archives)
    assert len(lines(work)) == 1
    assert 'is a link or leaves its folder' in lines(work)[0]
    assert not [path for path in work.root.parent.rglob('*') if path.name == 'evil.txt']
    assert 'out/a.txt' in names(work), 'the others are taken'
    work.report.defects.clear()
    unpack(work, ZIP, work.archives)
    assert len(lines(work)) == 1, 'the next run does not forget it'


def test_links_are_left_out(work):
    with tarfile.open(work.archives / TAR.file, 'w:gz') as tar:
        link = tarfile.TarInfo('inside/link.txt')
        link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
        tar.addfile(link)
        entry = tarfile.TarInfo('inside/a.txt')
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b'a'))
    unpack(work, TAR, work.archives)
    assert 'holds inside/link.txt, which is a link' in lines(work)[0]
    assert names(work) == ['out/a.txt']


def test_unpacked_folder_of_symbolic_links(work):
    write_files(work.archives, {'elsewhere/a.txt': b'a', 'set/inside/b.txt': b'b'})
    (work.archives / 'set/inside/a.txt').symlink_to('../../elsewhere/a.txt')
    unpack(work, ZIP, work.archives)
    assert (work.root / 'out/a.txt').read_bytes() == b'a'


def test_archive_without_what_is_wanted(work):
    write_zip(work.archives / ZIP.file, {'other/c.txt': b'c'})
    unpack(work, ZIP, work.archives)
    assert lines(work) == [f'{work.archives / ZIP.file}: holds no inside/; get set.zip from example.org']


def test_missing_archive_is_asked_for_unless_its_files_are_there(work):
    unpack(work, ZIP, work.archives)
    wanted = f'get set.zip from example.org and put it into {work.archives}'
    assert lines(work) == [f'{work.root}/out: missing, to be made from inside/ in set.zip; {wanted}']
    work.report.defects.clear()
    write_files(work.root, {'out/a.txt': b'a'})
    unpack(work, ZIP, work.archives)
    assert lines(work) == []


def test_unchanged_archive_is_not_read_again(work, monkeypatch):
    write_tar(work.archives / TAR.file, FILES)
    unpack(work, TAR, work.archives)
    read = []
    original = archives.members
    monkeypatch.setattr(archives, 'members', lambda *args: read.append(args) or original(*args))
    unpack(work, TAR, work.archives)
    assert read == []
    (work.root / 'out/a.txt').unlink()
    unpack(work, TAR, work.archives)
    assert len(read) == 1
    assert (work.root / 'out/a.txt').is_file()


def test_changed_archive_is_read_again(work):
    write_zip(work.archives / ZIP.file, FILES)
    unpack(work, ZIP, work.archives)
    write_zip(work.archives / ZIP.file, {'inside/new.txt': b'new'})
    unpack(work, ZIP, work.archives)
    assert 'out/new.txt' in names(work)


def test_killed_while_writing(work, monkeypatch):
    write_zip(work.archives / ZIP.file, FILES)

    def killed(source, target, length):
        target.write(source.read(3))
        raise KeyboardInterrupt

    monkeypatch.setattr(archives.shutil, 'copyfileobj', killed)
    with pytest.raises(KeyboardInterrupt):
        unpack(work, ZIP, work.archives)
    assert names(work) == []
    monkeypatch.undo()
    unpack(work, ZIP, work.archives)
    assert (work.root / 'out/a.txt').read_bytes() == FILES['inside/a.txt']


def test_killed_process(work, monkeypatch):
    """A signal that no code can catch leaves no half file under a final name, and the next run repairs the rest."""
    write_zip(work.archives / ZIP.file, FILES)

    def killed(source, target, length):
        target.write(source.read(3))
        target.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(archives.shutil, 'copyfileobj', killed)
        unpack(work, ZIP, work.archives)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert names(work) == ['out/.a.txt.part']
    unpack(work, ZIP, work.archives)
    assert (work.root / 'out/a.txt').read_bytes() == FILES['inside/a.txt']
    assert not list(work.root.rglob('*.part'))


def test_file_in_any_folder_of_the_archive(work):
    archive = Archive('set.tar.gz', 'example.org', (Take('*/one.json', 'out/two.json'),))
    write_tar(work.archives / 'set.tar.gz', {'whatever/one.json': b'{}', 'whatever/none.json': b'[]'})
    unpack(work, archive, work.archives)
    assert names(work)[1:] == ['out/two.json']
