"""The composed set: reproducible, consistent with itself, and complete or absent."""

import contextlib
import errno
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from picture_support import SMALL
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from vlm_dense.datasets.pictures import compose, compose_pictures, read_manifest
from vlm_dense.datasets.pictures.records import caption
from vlm_dense.errors import ConfigError, MissingFileError, StorageError

PARTS = ('train', 'val', 'test')


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding='utf-8'))


@pytest.mark.parametrize('workers', [1, 3])
def test_equal_seeds_give_equal_bytes_whatever_the_workers(picture_set, tmp_path, workers):
    compose_pictures(tmp_path / 'again', SMALL, workers=workers)
    assert contents(tmp_path / 'again') == contents(picture_set)


def test_another_seed_gives_other_scenes_and_another_split(picture_set, tmp_path):
    compose_pictures(tmp_path / 'other', replace(SMALL, seed=4))
    ours, other = contents(picture_set), contents(tmp_path / 'other')
    pictures = [name for name in ours if name.endswith('.jpg')]
    assert set(ours) == set(other)
    assert all(ours[name] != other[name] for name in pictures)
    assert read(picture_set / 'vocabulary.json')['base'] != read(tmp_path / 'other' / 'vocabulary.json')['base']


def test_no_two_scenes_are_the_same_picture(picture_set):
    pictures = [content for name, content in contents(picture_set).items() if name.endswith('.jpg')]
    assert len(set(pictures)) == len(pictures) == 20


@pytest.mark.parametrize('part', PARTS)
def test_masks_boxes_areas_and_label_maps_agree(picture_set, part):
    document = read(picture_set / f'{part}.json')
    num_words = len(document['categories'])
    for image in document['images']:
        labels = np.asarray(Image.open(picture_set / part / 'labels' / f'{Path(image["file_name"]).stem}.png'))
        assert labels.dtype == np.uint8
        assert labels.shape == (image['height'], image['width']) == (96, 96)
        assert Image.open(picture_set / image['file_name']).size == (96, 96)
        owners = np.zeros(labels.shape, int)
        for annotation in [one for one in document['annotations'] if one['image_id'] == image['id']]:
            mask = coco_mask.decode(annotation['segmentation']).astype(bool)
            rows, columns = np.nonzero(mask)
            x, y = columns.min(), rows.min()
            assert annotation['bbox'] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
            assert annotation['area'] == mask.sum()
            label = annotation['category_id'] - 1
            assert set(np.unique(labels[mask])) <= {label, 255}
            assert (labels[mask] == label).any()
            owners += mask
        assert owners.max() == 1, 'a pixel belongs to one object'
        assert set(np.unique(labels[owners == 0])) <= {num_words, 255}


def test_train_has_base_words_only_and_a_scene_never_mixes_both(picture_set):
    vocabulary = read(picture_set / 'vocabulary.json')
    num_base = len(vocabulary['base'])
    assert vocabulary['words'][:num_base] == vocabulary['base']
    for part in PARTS:
        document = read(picture_set / f'{part}.json')
        assert [category['name'] for category in document['categories']] == vocabulary['words']
        assert [category['id'] for category in document['categories']] == list(range(1, len(vocabulary['words']) + 1))
        is_novel: dict[int, set[bool]] = {}
        for annotation in document['annotations']:
            is_novel.setdefault(annotation['image_id'], set()).add(annotation['category_id'] > num_base)
        assert all(len(kinds) == 1 for kinds in is_novel.values())
        novel_scenes = sum(kinds == {True} for kinds in is_novel.values())
        assert novel_scenes == (0 if part == 'train' else round(0.6 * len(document['images'])))


def test_backgrounds_and_held_out_drawings_are_not_shared_with_training(picture_set):
    documents = {part: read(picture_set / f'{part}.json') for part in PARTS}
    backgrounds = {part: {image['background'] for image in documents[part]['images']} for part in PARTS}
    photos = {part: {one['photo'] for one in documents[part]['annotations']} for part in PARTS}
    assert not backgrounds['train'] & (backgrounds['val'] | backgrounds['test'])
    assert not backgrounds['val'] & backgrounds['test']
    assert not photos['train'] & (photos['val'] | photos['test'])


def test_file_opens_in_pycocotools_and_names_source_seed_and_licence(picture_set):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(picture_set / 'test.json'))
    assert len(coco.imgs) == 10
    annotation = coco.loadAnns(coco.getAnnIds(imgIds=[1]))[0]
    assert coco.annToMask(annotation).sum() == annotation['area']
    assert coco.dataset['info']['source'] == 'drawn'
    assert coco.dataset['info']['seed'] == 3
    assert coco.dataset['licenses'][0]['name'] == 'Apache-2.0'
    assert read_manifest(picture_set)['counts']['words'] == {
        'all': 96,
        'base': 64,
        'novel': 32,
        'known_base': 0,
        'known_novel': 0,
    }


def test_captions_name_every_object_once(picture_set):
    document = read(picture_set / 'val.json')
    names = {category['id']: category['name'] for category in document['categories']}
    for image in document['images']:
        shown = [names[one['category_id']] for one in document['annotations'] if one['image_id'] == image['id']]
        assert all(image['caption'].count(f' {name}') >= 1 for name in shown)
        assert 2 <= len(shown) <= 5


def test_caption_grammar():
    assert caption(['zebra', 'apple']) == 'a zebra and an apple'
    assert caption(['orange star', 'scissors', 'corn']) == 'an orange star, a pair of scissors and some corn'
    assert caption(['planet earth']) == 'planet earth'


def test_second_run_does_nothing_and_changed_arguments_compose_again(tmp_path, monkeypatch):
    out = tmp_path / 'pictures'
    tiny = replace(SMALL, train=2, val=1, test=1)
    assert compose_pictures(out, tiny)['made']
    before = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    with monkeypatch.context() as patched:
        patched.setattr(compose, 'load_source', lambda *_: pytest.fail('composed again'))
        assert not compose_pictures(out, tiny)['made']
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*')} == before
    assert compose_pictures(out, replace(tiny, test=2))['made']
    assert len(list((out / 'test' / 'images').iterdir())) == 2
    (out / 'train' / 'labels' / '000000.png').unlink()
    assert compose_pictures(out, replace(tiny, test=2))['made'], 'a lost file is noticed'
    assert [path.name for path in tmp_path.iterdir()] == ['pictures']


def test_full_disk_leaves_nothing_and_keeps_the_old_set(tmp_path, monkeypatch):
    out = tmp_path / 'pictures'
    tiny = replace(SMALL, train=2, val=1, test=1)
    compose_pictures(out, tiny)
    before = contents(out)
    write_bytes = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.suffix == '.png' and 'val' in path.parts:
            raise OSError(errno.ENOSPC, 'No space left on device', str(path))
        return write_bytes(path, content)

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(StorageError) as caught:
        compose_pictures(out, replace(tiny, seed=9))
    message = str(caught.value)
    assert str(out) in message
    assert 'disk is full' in message
    assert 'MB are free' in message
    assert 'Free some room' in message
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ['pictures']


def test_a_folder_with_other_contents_is_never_replaced(tmp_path):
    (tmp_path / 'thesis.txt').write_text('years of work')
    with pytest.raises(ConfigError, match='is not a picture set'):
        compose_pictures(tmp_path, SMALL)
    with pytest.raises(ConfigError, match='is not a picture set'):
        compose_pictures(tmp_path / 'thesis.txt', SMALL)
    assert (tmp_path / 'thesis.txt').read_text() == 'years of work'


def test_auto_falls_back_to_drawn_and_says_so(tmp_path, monkeypatch, caplog):
    def no_photographs(_cache):
        raise MissingFileError('no apt here')

    monkeypatch.setattr(compose, 'stamps_source', no_photographs)
    request = replace(SMALL, source='auto', train=1, val=1, test=1)
    manifest = compose_pictures(tmp_path / 'pictures', request)
    assert manifest['source'] == 'drawn'
    assert manifest['fallback'] == 'no apt here'
    assert 'drawn cut-outs in place of photographs' in caplog.text
    assert read(tmp_path / 'pictures' / 'vocabulary.json')['source'] == 'drawn'
    assert not compose_pictures(tmp_path / 'pictures', request)['made']
    with pytest.raises(MissingFileError, match='no apt here'):
        compose_pictures(tmp_path / 'pictures', replace(request, source='stamps'))


@pytest.mark.parametrize(
    ('change', 'message'),
    [({'source': 'stemps'}, "'stemps'"), ({'size': 8}, 'size 8'), ({'train': 0}, 'train is 0'), ({'seed': -1}, 'seed')],
)
def test_request_out_of_range(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **change)
