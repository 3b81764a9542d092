"""Every data set: from the official archives to a layout that passes its own check."""

import tarfile
import zipfile

import pytest
from miniatures import PLACERS, WRITERS

from vlm_dense.datasets.preparation import DATA_SETS, data_set
from vlm_dense.errors import DataError


def files(root):
    """Every file below a root with its content, without the records of the runs."""
    found = {path.relative_to(root).as_posix(): path for path in root.rglob('*') if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith('.prepared')}


def stamps(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob('*') if '.prepared' not in path.parts}


def unpack_here(archives):
    """Replace every archive by what is in it."""
    for path in sorted(archives.iterdir()):
        if path.suffix == '.zip':
            with zipfile.ZipFile(path) as archive:
                archive.extractall(archives / path.stem)
        elif '.tar' in path.name:
            with tarfile.open(path) as archive:
                archive.extractall(archives, filter='data')
        else:
            continue
        path.unlink()


def test_every_data_set_has_a_miniature():
    assert set(DATA_SETS) == set(WRITERS) | set(PLACERS)


@pytest.mark.parametrize('dataset', DATA_SETS)
def test_archives_become_a_layout_that_passes(prepared, dataset):
    made = prepared(dataset)
    assert made.check().good
    before = stamps(made.root)
    again = made.prepare()
    assert again.good
    assert again.made == [], 'a second run has nothing to do'
    assert stamps(made.root) == before


@pytest.mark.parametrize('dataset', [name for name, entry in DATA_SETS.items() if entry.counts])
def test_numbers_are_compared_with_the_official_ones(prepared, dataset):
    made = prepared(dataset)
    official = made.check(partial=False)
    assert official.defects, 'a miniature is no official data set'
    assert all('instead of' in defect.problem for defect in official.defects)
    notes = made.check().notes
    assert [note.problem for note in notes] == [defect.problem for defect in official.defects]


def test_numbers_can_be_given(prepared):
    ann = 'coco/annotations/instances_val2017.json'
    made = prepared('coco')
    assert made.check(partial=False, counts={ann: (3,)}).good
    wrong = made.check(partial=False, counts={ann: (4, 5)})
    assert str(wrong.defects[0]).startswith(f'{made.root / ann}: 3 pictures instead of 4 or 5; ')


@pytest.mark.parametrize('dataset', sorted(WRITERS))
def test_unpacked_folders_serve_as_well(prepared, dataset):
    made = prepared(dataset)
    from_archives = files(made.root)
    unpack_here(made.archives)
    # Another root, so that nothing is there yet.
    made.root = made.root.with_name('again')
    report = made.prepare()
    assert report.good, [str(defect) for defect in report.defects]
    assert files(made.root) == from_archives
    assert made.prepare().made == []


@pytest.mark.parametrize('dataset', ['coco', 'ov_coco', 'ade20k_150', 'lvis_v1'])
def test_training_part_on_request(place, dataset):
    made = place(dataset)
    assert made.prepare().good
    missing = made.check(train=True)
    assert all(defect.problem == 'missing' or 'no *' in defect.problem for defect in missing.defects)
    assert missing.defects
    report = made.prepare(train=True)
    assert report.good, [str(defect) for defect in report.defects]
    assert report.made


@pytest.mark.parametrize('dataset', ['lvis_v1', 'cocostuff171'])
def test_pictures_of_coco_are_linked_not_copied(prepared, dataset):
    made = prepared('coco')
    made.dataset = dataset
    WRITERS[dataset](made.archives)
    for part in ('train2017', 'val2017'):
        (made.root / 'coco' / part).mkdir(exist_ok=True)
    folder = {'lvis_v1': 'lvis_v1', 'cocostuff171': 'coco_stuff164k/images'}[dataset]
    assert made.prepare().good
    assert (made.root / folder / 'val2017').resolve() == (made.root / 'coco' / 'val2017').resolve()


def test_unknown_data_set():
    with pytest.raises(DataError, match="no data set 'cocoa' in this package; known: coco, ov_coco"):
        data_set('cocoa')
