"""PhraseCut in its own layout, small."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from vlm_dense.datasets import PhraseCutDataset
from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.registry import TRANSFORMS

LEFT = [[2, 4], [10, 4], [10, 20], [2, 20]]
RIGHT = [[30, 4], [40, 4], [40, 10], [30, 10]]
TRIANGLE = [[50, 0], [60, 0], [60, 10]]
META_KEYS = ('img_path', 'ori_shape', 'img_shape', 'vocabulary')


def task(image_id: int, phrase: str, polygons: list) -> dict:
    return dict(
        task_id=f'{image_id}__1',
        image_id=image_id,
        ann_ids=[1],
        instance_boxes=[[0, 0, 5, 5]] * len(polygons),
        Polygons=polygons,
        phrase=phrase,
        phrase_structure=dict(name=phrase, attributes=[], relations=[]),
    )


TASKS = [
    task(7, 'two cups', [[LEFT], [RIGHT, TRIANGLE]]),
    task(7, 'left cup', [[LEFT, [[0, 0], [1, 1]]]]),
    task(8, 'a line', [[[[0, 0], [9, 9]]]]),
    task(61530, 'of another size', [[LEFT]]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'images').mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (24, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'images' / '7.jpg')
    (tmp_path / 'refer_val.json').write_text(json.dumps(TASKS))
    return tmp_path


def read(folder: Path, *steps: dict, ann_file: str = 'refer_val.json') -> PhraseCutDataset:
    first = [dict(type='LoadImageFromFile', imdecode_backend='pillow'), dict(type='vlm_dense.LoadPhraseMask')]
    pipeline = [*first, *steps, dict(type='PackSegInputs', meta_keys=META_KEYS)]
    place = dict(data_root=str(folder), ann_file=ann_file, data_prefix=dict(img_path='images'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        return PhraseCutDataset(**place, pipeline=pipeline, test_mode=True)


def test_one_entry_for_each_phrase_with_an_area(folder: Path) -> None:
    dataset = read(folder)
    assert [dataset.get_data_info(row)['phrase'] for row in range(len(dataset))] == ['two cups', 'left cup']
    assert [len(dataset.get_data_info(row)['polygons']) for row in range(2)] == [3, 1]


def test_the_phrase_is_the_word_and_its_regions_have_label_0(folder: Path) -> None:
    sample = read(folder)[0]['data_samples']
    assert sample.vocabulary.words == ('two cups',)
    labels_HW = sample.gt_sem_seg.data[0].numpy()
    # COCO's polygons fill the pixels whose centres lie within.
    expected_HW = np.ones((24, 64), int)
    expected_HW[4:20, 2:10] = 0
    expected_HW[4:10, 30:40] = 0
    np.testing.assert_array_equal(labels_HW[:, :45], expected_HW[:, :45])
    triangle_HW = labels_HW[:10, 50:60] == 0
    assert triangle_HW.sum() == pytest.approx(50, abs=6)
    assert triangle_HW[0, 8]
    assert not triangle_HW[8, 0]


def test_the_mask_follows_the_picture(folder: Path) -> None:
    flipped = read(folder, dict(type='RandomFlip', prob=1.0))[1]['data_samples'].gt_sem_seg.data
    plain = read(folder)[1]['data_samples'].gt_sem_seg.data
    assert plain.min() == 0
    np.testing.assert_array_equal(flipped.flip(-1).numpy(), plain.numpy())


def test_behind_resize_the_mask_keeps_the_original_size(folder: Path) -> None:
    """There it meets predictions, which are brought back to that size."""
    dataset = read(folder)
    plain = dataset[0]['data_samples'].gt_sem_seg.data
    load, mask, pack = dataset.pipeline.transforms
    dataset.pipeline.transforms = [load, TRANSFORMS.build(dict(type='Resize', scale=(32, 32))), mask, pack]
    assert tuple(dataset[0]['inputs'].shape) == (3, 32, 32)
    np.testing.assert_array_equal(dataset[0]['data_samples'].gt_sem_seg.data.numpy(), plain.numpy())


def test_missing_and_damaged_files_are_named(folder: Path) -> None:
    with pytest.raises(MissingFileError, match=r'refer_test.json does not exist; fetch VGPhraseCut'):
        read(folder, ann_file='refer_test.json')
    for content, message in (('{"a": 1}', 'is not PhraseCut'), ('[1', 'is not PhraseCut'), ('[]', 'holds no task')):
        (folder / 'refer_bad.json').write_text(content)
        with pytest.raises(DataError, match=message):
            read(folder, ann_file='refer_bad.json')
    (folder / 'images' / '7.jpg').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'7.jpg cannot be decoded'):
        read(folder)[0]
    (folder / 'images' / '7.jpg').unlink()
    (folder / 'images').rmdir()
    with pytest.raises(MissingFileError, match='folder of pictures'):
        read(folder)


def test_shown_by_its_name() -> None:
    assert repr(TRANSFORMS.build(dict(type='vlm_dense.LoadPhraseMask'))) == 'LoadPhraseMask()'
