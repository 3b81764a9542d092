"""Label maps that are made from official ones, recomputed with numpy."""

import json
from pathlib import Path

import numpy as np
from miniatures.maps import ADE_NAMES, CONTEXT_IDS, VOC_NAMES, context_map
from mmseg.datasets import ADE20KDataset, PascalContextDataset
from PIL import Image

from vlm_dense.datasets import preparation
from vlm_dense.datasets.preparation.street_and_stuff import STUFF_IDS

FOLDER = Path(preparation.__file__).parent


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def rows(name):
    return json.loads((FOLDER / name).read_text(encoding='utf-8'))['rows']


def expected_847(seg_HW3):
    """Class of every pixel, one class after the other."""
    index_HW = seg_HW3[..., 0].astype(int) // 10 * 256 + seg_HW3[..., 1]
    class_HW = np.full(index_HW.shape, 65535)
    for label, (index, _) in enumerate(rows('ade20k_847_indices.json')):
        class_HW[index_HW == index] = label
    return class_HW


def test_ade20k_847_maps_objects_to_classes(prepared):
    made = prepared('ade20k_847')
    full = made.root / 'ade/ADE20K_2021_17_01'
    seg_HW3 = read(full / f'images/ADE/validation/urban/street/{ADE_NAMES[0]}_seg.png')
    label_map = read(full / f'annotations_detectron2/validation/{ADE_NAMES[0]}.tif')
    assert label_map.dtype == np.uint16
    assert np.array_equal(label_map, expected_847(seg_HW3))
    assert set(np.unique(label_map)) == {0, 1, 255, 65535}, 'class 255 is a class like any other'


def test_ade20k_847_is_resized_by_its_shorter_side(prepared):
    made = prepared('ade20k_847')
    full = made.root / 'ade/ADE20K_2021_17_01'
    seg_HW3 = read(full / f'images/ADE/validation/urban/street/{ADE_NAMES[1]}_seg.png')
    label_map = read(full / f'annotations_detectron2/validation/{ADE_NAMES[1]}.tif')
    assert seg_HW3.shape[:2] == (560, 700)
    assert label_map.shape == (512, 640)
    from_rows, from_columns = np.arange(512) * 560 // 512, np.arange(640) * 700 // 640
    assert np.array_equal(label_map, expected_847(seg_HW3)[from_rows][:, from_columns])
    picture = read(full / f'images_detectron2/validation/{ADE_NAMES[1]}.jpg')
    original = read(full / f'images/ADE/validation/urban/street/{ADE_NAMES[1]}.jpg')
    assert picture.shape == (512, 640, 3)
    sampled = original[from_rows][:, from_columns].astype(float)
    assert np.abs(picture - sampled).mean() < 8, 'the picture is resized as its map is'


def test_ade20k_847_indices_are_one_per_class():
    table = rows('ade20k_847_indices.json')
    assert len(table) == len({index for index, _ in table}) == len({name for _, name in table}) == 847
    # Among the 847 are objects that the 150 classes of the challenge have under the same first word.
    names = {name.split(',')[0] for _, name in table}
    assert {'wall', 'sky', 'tree', 'ceiling'} <= names & set(ADE20KDataset.METAINFO['classes'])


def test_context_59_numbers_classes_as_mmseg_does(prepared):
    made = prepared('context59')
    names = [name for _, name in rows('pascal_context_59_indices.json')]
    assert ('background', *names) == PascalContextDataset.METAINFO['classes']
    new = {index: label for label, (index, _) in enumerate(rows('pascal_context_59_indices.json'), 1)}
    label_map = read(made.root / f'VOCdevkit/VOC2010/SegmentationClassContext/{VOC_NAMES[0]}.png')
    assert label_map.dtype == np.uint8
    assert np.array_equal(label_map, np.vectorize(lambda index: new.get(index, 0))(context_map()))
    assert set(np.unique(label_map)) == {0, 1, 2, 59}
    assert 1 in CONTEXT_IDS, 'one of the 459 outside the 59 became background'


def test_context_lists_name_their_part(prepared):
    made = prepared('context59')
    lists = made.root / 'VOCdevkit/VOC2010/ImageSets/SegmentationContext'
    assert (lists / 'val.txt').read_text().split() == list(VOC_NAMES)
    assert not (lists / 'train.txt').exists()
    assert made.prepare(train=True).good
    assert (lists / 'train.txt').read_text().split() == ['2008_000008']


def test_context_459_counts_from_zero_and_keeps_255(prepared):
    made = prepared('context459')
    label_map = read(made.root / f'VOCdevkit/VOC2010/annotations_detectron2/pc459_val/{VOC_NAMES[0]}.tif')
    assert label_map.dtype == np.uint16
    assert np.array_equal(label_map, context_map() - 1)
    assert 255 in label_map


def test_context_459_ignores_zero(prepared):
    from scipy.io import savemat

    made = prepared('context459')
    path = made.root / f'VOCdevkit/VOC2010/trainval/{VOC_NAMES[1]}.mat'
    labels = context_map()
    labels[:4] = 0
    path.unlink()
    savemat(path, {'LabelMap': labels})
    assert made.prepare(archives=None).good
    label_map = read(made.root / f'VOCdevkit/VOC2010/annotations_detectron2/pc459_val/{VOC_NAMES[1]}.tif')
    assert np.array_equal(label_map[:4], np.full((4, 64), 65535))


def test_cityscapes_keeps_nineteen_labels(prepared):
    made = prepared('cityscapes')
    # cityscapesScripts, helpers/labels.py: id -> trainId.
    train_ids = {7: 0, 8: 1, 33: 18, 24: 11, 26: 13}
    folder = made.root / 'cityscapes/gtFine/val'
    for raw in folder.rglob('*_labelIds.png'):
        label_map = read(raw.with_name(raw.name.replace('_labelIds', '_labelTrainIds')))
        assert np.array_equal(label_map, np.vectorize(lambda label: train_ids.get(label, 255))(read(raw)))
    assert not list(made.root.rglob('*polygons*')), 'only what is needed is unpacked'


def test_coco_stuff_closes_the_holes(prepared):
    made = prepared('cocostuff171')
    # nightrome/cocostuff: raw value -> class among the 171.
    classes = {0: 0, 89: 79, 91: 80, 181: 170, 255: 255, 12: 11, 45: 40, 150: 139, 10: 10, 24: 23, 26: 24, 100: 89}
    for raw in raw_stuff(made):
        label_map = read(raw.with_name(f'{raw.stem}_labelTrainIds.png'))
        assert np.array_equal(label_map, np.vectorize(classes.get)(read(raw)))
    assert len(STUFF_IDS) == 171


def test_coco_object_keeps_things_only(prepared):
    made = prepared('coco_object')
    things = {0: 1, 89: 80, 12: 12, 45: 41, 10: 11, 24: 24, 26: 25}
    for raw in raw_stuff(made):
        label_map = read(raw.with_name(f'{raw.stem}_instanceTrainIds.png'))
        assert np.array_equal(label_map, np.vectorize(lambda label: things.get(label, 0))(read(raw)))


def raw_stuff(made):
    folder = made.root / 'coco_stuff164k/annotations/val2017'
    found = [path for path in folder.iterdir() if 'TrainIds' not in path.name]
    assert len(found) == 3
    return found
