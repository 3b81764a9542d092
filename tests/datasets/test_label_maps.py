"""Label maps of 8 and 16 bits: what their numbers become, what is refused, and what mmseg's steps do to them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.models import SegDataPreProcessor
from PIL import Image

from vlm_dense.datasets import VocabularySegDataset
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.registry import TRANSFORMS

READ_LABELS = {'type': 'vlm_dense.LoadLabelMap'}
PACK = {'type': 'PackSegInputs'}
READ_PICTURE = {'type': 'LoadImageFromFile', 'imdecode_backend': 'pillow'}


@pytest.fixture(autouse=True)
def _mmseg_names() -> Iterator[None]:
    """Steps are found by mmseg's names, whatever scope another test left behind."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def words(count: int) -> list[str]:
    return [f'thing {row}' for row in range(count)]


def write_set(folder: Path, values_HW: np.ndarray | Image.Image, suffix: str = '.png') -> Path:
    (folder / 'images').mkdir(parents=True)
    (folder / 'labels').mkdir()
    labels = values_HW if isinstance(values_HW, Image.Image) else Image.fromarray(values_HW)
    labels.save(folder / 'labels' / f'a{suffix}')
    random = np.random.default_rng(0).integers(0, 256, (labels.height, labels.width, 3), dtype=np.uint8)
    Image.fromarray(random).save(folder / 'images' / 'a.jpg')
    return folder


def data_set(folder: Path, steps: tuple = (), suffix: str = '.png', **options) -> VocabularySegDataset:
    prefix = {'img_path': 'images', 'seg_map_path': 'labels'}
    options.setdefault('pipeline', (READ_PICTURE, READ_LABELS, *steps, PACK))
    return VocabularySegDataset(data_root=str(folder), data_prefix=prefix, seg_map_suffix=suffix, **options)


def labels_of(dataset: VocabularySegDataset) -> np.ndarray:
    return dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()


# Numbers on disk and what they mean: W for word, B for background, I for ignored.
LAYOUTS = [
    ('A-150, Context-59, VOC-20', 20, 1, False, np.uint8, {0: 'I', 1: 'W0', 20: 'W19', 255: 'I'}),
    ('VOC-21, Context-60, COCO-Object', 20, 1, True, np.uint8, {0: 'B', 1: 'W0', 20: 'W19', 255: 'I'}),
    ('Cityscapes, COCO-Stuff', 19, 0, False, np.uint8, {0: 'W0', 18: 'W18', 255: 'I'}),
    ('pictures', 96, 0, True, np.uint8, {0: 'W0', 95: 'W95', 96: 'B', 255: 'I'}),
    ('A-847', 847, 0, False, np.uint16, {0: 'W0', 255: 'W255', 256: 'W256', 846: 'W846', 65535: 'I'}),
    ('254 words', 254, 0, True, np.uint8, {253: 'W253', 254: 'B', 255: 'I'}),
    ('255 words', 255, 0, True, np.uint16, {254: 'W254', 255: 'B', 65535: 'I'}),
    ('255 words from 1', 255, 1, False, np.uint16, {0: 'I', 255: 'W254', 65535: 'I'}),
    ('300 words and background', 300, 1, True, np.uint16, {0: 'B', 1: 'W0', 255: 'W254', 300: 'W299', 65535: 'I'}),
]


@pytest.mark.parametrize(
    ('count', 'first_label', 'background', 'dtype', 'meaning'),
    [layout[1:] for layout in LAYOUTS],
    ids=[layout[0] for layout in LAYOUTS],
)
def test_numbers_on_disk_become_labels(tmp_path, count, first_label, background, dtype, meaning):
    write_set(tmp_path, np.array([list(meaning)], dtype=dtype), '.tif')
    dataset = data_set(tmp_path, suffix='.tif', vocabulary=words(count), first_label=first_label, background=background)
    ignored = 255 if count < 255 else 65535
    expected = [{'I': ignored, 'B': count}.get(kind) for kind in meaning.values()]
    expected = [int(k[1:]) if e is None else e for e, k in zip(expected, meaning.values(), strict=True)]
    assert labels_of(dataset)[0].tolist() == expected
    assert dataset.ignore_index == ignored
    assert len(dataset.metainfo['classes']) == count + background


def palette_picture(values_HW: np.ndarray) -> Image.Image:
    picture = Image.fromarray(values_HW.astype(np.uint8)).convert('P')
    # Colours in falling order: reading colours in place of numbers would be seen.
    picture.putdata([int(v) for v in values_HW.ravel()])
    picture.putpalette([level for value in range(256) for level in (255 - value,) * 3])
    return picture


@pytest.mark.parametrize(
    ('suffix', 'make', 'numbers'),
    [
        ('.png', palette_picture, (0, 1, 7, 20)),
        ('.png', lambda values: Image.fromarray(values.astype(np.uint8)), (0, 1, 7, 20)),
        ('.png', lambda values: Image.fromarray(values.astype(np.uint16)), (255, 256, 300, 65535)),
        ('.tif', lambda values: Image.fromarray(values.astype(np.uint16)), (255, 256, 300, 65535)),
        ('.tif', lambda values: Image.fromarray(values.astype(np.int32)), (255, 256, 300, 65535)),
        ('.png', lambda values: Image.fromarray(values.astype(bool)), (0, 1, 1, 0)),
    ],
    ids=['palette', 'grey', '16-bit png', '16-bit tif', '32-bit tif', '1 bit'],
)
def test_files_of_every_depth(tmp_path, suffix, make, numbers):
    values_HW = np.array(numbers).reshape(2, 2)
    write_set(tmp_path, make(values_HW), suffix)
    found = labels_of(data_set(tmp_path, suffix=suffix, vocabulary=words(400), background=False))
    np.testing.assert_array_equal(found, values_HW)


@pytest.mark.parametrize(
    ('values', 'dtype', 'options', 'wrong'),
    [
        ([0, 21, 0], np.uint8, {'first_label': 1}, 21),
        ([0, 254, 255], np.uint8, {'background': False}, 254),
        ([0, 1, 300], np.uint16, {}, 300),
        ([0, 70000, 1], np.int32, {}, 70000),
        ([0, -1, 1], np.int32, {}, -1),
    ],
)
def test_numbers_without_a_meaning_are_refused(tmp_path, values, dtype, options, wrong):
    write_set(tmp_path, np.array([values], dtype=dtype), '.tif')
    dataset = data_set(tmp_path, suffix='.tif', vocabulary=words(20), **options)
    column = values.index(wrong)
    with pytest.raises(DataError, match=rf'labels/a\.tif holds {wrong} in row 0, column {column}'):
        dataset[0]


def test_words_that_are_not_asked_for_are_ignored_beyond_8_bits(tmp_path):
    write_set(tmp_path, np.array([[0, 255, 256, 299, 300, 65535]], dtype=np.uint16), '.tif')
    full = words(300)
    few = data_set(tmp_path, suffix='.tif', vocabulary=[full[299], full[255]], label_vocabulary=full)
    assert labels_of(few)[0].tolist() == [255, 1, 255, 0, 2, 255]
    most = data_set(tmp_path, suffix='.tif', vocabulary=full[:0:-1], label_vocabulary=full)
    assert labels_of(most)[0].tolist() == [65535, 44, 43, 0, 299, 65535]


def test_mmseg_loader_reads_8_bits_alike_and_is_refused_beyond(tmp_path):
    write_set(tmp_path, np.array([[0, 1], [20, 255]], dtype=np.uint8))
    theirs = (READ_PICTURE, {'type': 'LoadAnnotations'}, PACK)
    for background in (False, True):
        options = {'vocabulary': words(20), 'first_label': 1, 'background': background}
        found = labels_of(data_set(tmp_path, pipeline=theirs, **options))
        np.testing.assert_array_equal(found, labels_of(data_set(tmp_path, **options)))
    inside = [{'type': 'TestTimeAug', 'transforms': [[{'type': 'LoadAnnotations'}], [PACK]]}]
    with pytest.raises(ConfigError, match=r'vlm_dense\.LoadLabelMap'):
        data_set(tmp_path, pipeline=inside, vocabulary=words(300))


def test_settings_that_contradict_each_other(tmp_path):
    write_set(tmp_path, np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(ConfigError, match='first_label=1'):
        data_set(tmp_path, vocabulary=words(20), reduce_zero_label=True)
    with pytest.raises(ConfigError, match='ignore_index=255 is a label'):
        data_set(tmp_path, vocabulary=words(300), ignore_index=255)
    with pytest.raises(ConfigError, match='first_label=65500'):
        data_set(tmp_path, vocabulary=words(300), first_label=65500)
    with pytest.raises(MissingFileError, match=r'list of pictures .*gone\.txt'):
        data_set(tmp_path, vocabulary=words(2), ann_file='gone.txt')


def test_files_and_samples_that_are_no_label_maps(tmp_path):
    write_set(tmp_path, np.zeros((2, 2, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r'a\.png has the shape \(2, 2, 3\)'):
        data_set(tmp_path, vocabulary=words(2))[0]
    with pytest.raises(ConfigError, match='VocabularySegDataset'):
        TRANSFORMS.build(READ_LABELS)({'seg_map_path': str(tmp_path / 'labels' / 'a.png')})


# 6 x 6, so that scaling by 2 and mirroring are easy to say.
VALUES_HW = np.array([[0, 255, 256], [511, 846, 65535], [1, 2, 300]], dtype=np.uint16).repeat(2, 0).repeat(2, 1)
PAD = {'type': 'Pad', 'size': (8, 8), 'pad_val': {'img': 0, 'seg': 65535}}


@pytest.mark.parametrize(
    ('step', 'change'),
    [
        ({'type': 'Resize', 'scale': (12, 12)}, lambda labels: labels.repeat(2, 0).repeat(2, 1)),
        ({'type': 'Resize', 'scale': (12, 12), 'keep_ratio': True}, lambda x: x.repeat(2, 0).repeat(2, 1)),
        ({'type': 'RandomFlip', 'prob': 1.0}, lambda labels: labels[:, ::-1]),
        (PAD, lambda labels: np.pad(labels, (0, 2), constant_values=65535)[:8, :8]),
        ({'type': 'RandomCrop', 'crop_size': (6, 6), 'ignore_index': 65535}, lambda labels: labels),
    ],
    ids=['resize', 'rescale', 'flip', 'pad', 'crop'],
)
def test_steps_of_mmseg_keep_16_bits(tmp_path, step, change):
    write_set(tmp_path, VALUES_HW, '.tif')
    dataset = data_set(tmp_path, (step,), '.tif', vocabulary=words(847), background=False)
    np.testing.assert_array_equal(labels_of(dataset), change(VALUES_HW.astype(np.int64)))


def test_rotated_corners_are_ignored(tmp_path):
    write_set(tmp_path, np.full((20, 20), 846, dtype=np.uint16), '.tif')
    step = {'type': 'RandomRotate', 'prob': 1.0, 'degree': (45, 45.001), 'seg_pad_val': 65535}
    found = labels_of(data_set(tmp_path, (step,), '.tif', vocabulary=words(847), background=False))
    assert set(np.unique(found)) == {846, 65535}
    assert (found[0, 0], found[10, 10]) == (65535, 846)


def test_crop_looks_for_variety_among_labels_that_count(tmp_path):
    # The left half is class 255 alone, the right half has two classes: only crops that reach there are varied.
    values_HW = np.full((8, 40), 255, dtype=np.uint16)
    values_HW[:4, 30:], values_HW[4:, 30:] = 400, 401
    write_set(tmp_path, values_HW, '.tif')
    step = {'type': 'RandomCrop', 'crop_size': (8, 10), 'cat_max_ratio': 0.75, 'ignore_index': 65535}
    dataset = data_set(tmp_path, (step,), '.tif', vocabulary=words(847), background=False)
    np.random.seed(0)
    varied = [len(np.unique(labels_of(dataset))) > 1 for _ in range(40)]
    assert np.mean(varied) > 0.8


def test_batches_are_padded_with_an_ignored_label(tmp_path):
    write_set(tmp_path, VALUES_HW, '.tif')
    packed = data_set(tmp_path, (), '.tif', vocabulary=words(847), background=False)[0]
    batch = {'inputs': [packed['inputs']], 'data_samples': [packed['data_samples']]}
    padded = SegDataPreProcessor(size=(9, 9), seg_pad_val=65535)(batch, training=True)
    found = padded['data_samples'][0].gt_sem_seg.data[0]
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found.numpy(), np.pad(VALUES_HW, (0, 3), constant_values=65535))
