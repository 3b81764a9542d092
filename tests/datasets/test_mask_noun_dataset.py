"""Pairs of masks and nouns, and regions cut out of their pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask

from vlm_dense.datasets import CutMaskedRegion, MaskNounDataset
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.vlms import MaskedCrops

HEIGHT, WIDTH = 40, 60
NOUNS = ('dog', 'red kite', 'Dog')
GREY = (10.0, 120.0, 200.0)  # RGB


def triangle(number: int) -> np.ndarray:
    """A mask whose box holds pixels outside of it."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return ((rows > 4) & (columns > 6 + number) & (rows + columns < 50)).astype(np.uint8)


def line(number: int, **changes: object) -> dict:
    rle = coco_mask.encode(np.asfortranarray(triangle(number)))
    segmentation = dict(size=list(rle['size']), counts=rle['counts'].decode())
    facts = dict(filename='0.png', height=HEIGHT, width=WIDTH, noun=NOUNS[number], caption='x', score=0.2)
    return facts | dict(segmentation=segmentation) | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(tmp_path / '0.png'), pixels)
    write(tmp_path, *(line(number) for number in range(3)))
    return tmp_path


def write(folder: Path, *lines: dict) -> None:
    (folder / 'pairs.jsonl').write_text('\n'.join(map(json.dumps, lines)))


def read(folder: Path, **settings: object) -> MaskNounDataset:
    steps = [dict(type='LoadImageFromFile'), dict(type='vlm_dense.CutMaskedRegion', size=32, outside=GREY)]
    place = dict(data_root=str(folder), ann_file='pairs.jsonl', data_prefix=dict(img=''))
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MaskNounDataset(**place, pipeline=[*steps, dict(type='PackDetInputs')], **settings)


def test_a_sample_shows_its_region_as_masked_crops_do(folder: Path) -> None:
    packed = read(folder)[1]
    picture_HW3 = cv2.imread(str(folder / '0.png'))[..., ::-1].copy()
    picture = torch.from_numpy(picture_HW3).permute(2, 0, 1)[None]
    (cut,) = MaskedCrops().cut(picture, [torch.from_numpy(triangle(1))[None].bool()], 32, GREY)
    assert torch.equal(packed['inputs'].flip(0), cut.crops_N3SS[0])
    sample = packed['data_samples']
    assert np.array_equal(sample.gt_instances.masks.masks, cut.inside_NSS.numpy())
    assert 0 < cut.inside_NSS.float().mean() < 1
    assert sample.gt_instances.bboxes.tensor.tolist() == [[0, 0, 32, 32]]
    assert sample.noun == 'red kite'
    assert sample.vocabulary.words == ('red kite',)
    assert sample.gt_instances.labels.tolist() == [0]
    assert (sample.img_id, sample.img_shape) == (1, (32, 32))


def test_all_nouns_of_the_file_are_asked_for(folder: Path) -> None:
    data = read(folder, all_nouns=True)
    samples = [data[row]['data_samples'] for row in range(3)]
    assert {sample.vocabulary.words for sample in samples} == {('dog', 'red kite')}
    assert [int(sample.gt_instances.labels) for sample in samples] == [0, 1, 0]


def test_pictures_in_shards_have_a_place(folder: Path) -> None:
    write(folder, line(0, filename='a.tar#512+20'))
    assert read(folder).get_data_info(-1)['img_path'] == f'tar://{folder}/a.tar#512+20'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(noun=3), "line 2: 'noun' is no text; make the pairs with"),
        (dict(noun=' '), 'line 2: row 1 of .* is empty'),
        (dict(segmentation=[[0, 0, 9, 0, 9, 9]]), "line 2: 'segmentation' is no compressed RLE"),
        (dict(height=41), 'line 2: the mask is 60 x 40, the picture 60 x 41'),
    ],
)
def test_a_wrong_line_is_named(folder: Path, changes: dict, message: str) -> None:
    write(folder, line(0), line(1, **changes))
    data = read(folder)
    assert data.get_data_info(0)['noun'] == 'dog'
    with pytest.raises(DataError, match=message):
        data.get_data_info(1)


def test_files_and_settings_that_do_not_do(folder: Path) -> None:
    (folder / 'pairs.jsonl').unlink()
    with pytest.raises(MissingFileError, match=r'does not exist; make the pairs with tools/mask_nouns\.py'):
        read(folder)
    with pytest.raises(ConfigError, match=r'filter_cfg\.filter_empty_gt would be passed over'):
        read(folder, filter_cfg=dict(filter_empty_gt=True))
    rle = line(0)['segmentation']
    with pytest.raises(DataError, match=r'a\.png has 9 x 9 pixels, its mask 40 x 60'):
        CutMaskedRegion().transform(dict(img=np.zeros((9, 9, 3), np.uint8), segmentation=rle, img_path='a.png'))
