"""Official files that cannot be converted are named, with the place and a remedy."""

import errno
import json

import pytest
from miniatures.packing import blocks_map, png

from vlm_dense.datasets.preparation import convert_maps
from vlm_dense.errors import StorageError


def test_raw_value_that_the_data_set_does_not_use(place):
    made = place('cocostuff171')
    made.prepare()
    raw = 'coco_stuff164k/annotations/val2017/000000000139.png'
    # 11 is one of the holes: mmseg's converter would leave it, and train on it as class 11.
    (made.root / raw).write_bytes(png(blocks_map([0, 11])))
    defects = made.prepare(archives=None).defects
    assert [defect.place for defect in defects] == [str(made.root / raw)]
    assert 'has the values [11], which the data set does not use' in defects[0].problem


def test_map_of_objects_that_is_missing(place):
    made = place('ade20k_847')
    made.prepare()
    seg = 'ade/ADE20K_2021_17_01/images/ADE/validation/urban/street/ADE_val_00000001_seg.png'
    (made.root / seg).unlink()
    defects = made.prepare(archives=None).defects
    assert [str(made.root / seg)] == [defect.place for defect in defects]


def test_picture_to_be_resized_that_cannot_be_read(place):
    made = place('ade20k_847')
    made.prepare()
    picture = made.root / 'ade/ADE20K_2021_17_01/images/ADE/validation/urban/street/ADE_val_00000001.jpg'
    picture.unlink()
    picture.write_bytes(b'no picture')
    defects = made.prepare(archives=None).defects
    assert [defect.place for defect in defects] == [str(picture)]
    assert 'cannot be read (cannot identify image file' in defects[0].problem


@pytest.mark.parametrize('content', [b'nothing like a mat file' * 20, b'MATLAB 5.0 MAT-file', b''])
def test_mat_without_labels(place, content):
    made = place('context459')
    made.prepare()
    mat = made.root / 'VOCdevkit/VOC2010/trainval/2008_000002.mat'
    mat.unlink()
    mat.write_bytes(content)
    defects = made.prepare(archives=None).defects
    assert [defect.place for defect in defects] == [str(mat)]
    assert 'cannot be converted' in defects[0].problem


def test_disk_that_is_full_while_maps_are_converted(place, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(convert_maps, 'save_map', full)
    with pytest.raises(StorageError, match='the disk is full'):
        place('cocostuff171').prepare()


@pytest.mark.parametrize('part', ['images', 'annos_segmentation'])
@pytest.mark.parametrize('dataset', ['context59', 'context459'])
def test_context_annotations_that_lack_something(place, dataset, part):
    made = place(dataset)
    merged = made.archives / 'trainval_merged.json'
    document = json.loads(merged.read_text())
    del document[part][1]['image_id']
    merged.write_text(json.dumps(document))
    problems = {defect.place: defect.problem for defect in made.prepare().defects}
    expected = f"entry 1 of {part} lacks ['image_id']"
    assert expected in problems[str(made.root / 'VOCdevkit/VOC2010/trainval_merged.json')]


def test_voc_annotation_with_an_unknown_object(place):
    made = place('voc2007')
    made.prepare()
    xml = made.root / 'VOCdevkit/VOC2007/Annotations/000002.xml'
    xml.write_text(xml.read_text().replace('car', 'lorry'))
    places = {defect.place: defect.problem for defect in made.prepare(archives=None).defects}
    assert "cannot be converted (KeyError('lorry'))" in places[str(xml)]
