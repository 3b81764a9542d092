"""Data sets with words: labels, checks and messages."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from PIL import Image

from vlm_dense.datasets import AttachVocabulary, VocabularyCocoDataset, VocabularySegDataset, vocabulary_path
from vlm_dense.errors import ConfigError, DataError, MissingFileError, VocabularyError
from vlm_dense.text.vocabulary import Vocabulary

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_'


def coco(folder: Path, part: str = 'test', **options) -> VocabularyCocoDataset:
    options.setdefault('vocabulary', {'file': str(folder / 'vocabulary.json')})
    options.setdefault('test_mode', True)
    options.setdefault('data_prefix', {'img': ''})
    return VocabularyCocoDataset(data_root=str(folder), ann_file=f'{part}.json', **options)


def edited(folder: Path, tmp_path: Path, change) -> Path:
    """A copy of the set whose test.json went through ``change``."""
    copy = tmp_path / 'edited'
    copy.mkdir()
    for name in ('vocabulary.json', 'test.json'):
        shutil.copy(folder / name, copy / name)
    (copy / 'test').symlink_to(folder / 'test')
    document = json.loads((copy / 'test.json').read_text())
    change(document)
    (copy / 'test.json').write_text(json.dumps(document))
    return copy


def labels_by_name(dataset: VocabularyCocoDataset) -> list[str]:
    words = dataset.vocabulary.words
    return [words[one['bbox_label']] for row in range(len(dataset)) for one in dataset.get_data_info(row)['instances']]


def names_in_file(folder: Path, part: str) -> list[str]:
    document = json.loads((folder / f'{part}.json').read_text())
    names = {category['id']: category['name'] for category in document['categories']}
    return [names[annotation['category_id']] for annotation in document['annotations']]


def test_labels_follow_the_words_and_not_the_file(picture_set):
    words = json.loads((picture_set / 'vocabulary.json').read_text())['words']
    forward, backward = coco(picture_set), coco(picture_set, vocabulary=words[::-1])
    assert forward.metainfo['classes'] == tuple(words)
    assert labels_by_name(forward) == labels_by_name(backward) == names_in_file(picture_set, 'test')


def test_base_words_number_the_training_objects(picture_set):
    spec = {'file': str(picture_set / 'vocabulary.json'), 'only': 'base'}
    dataset = coco(picture_set, 'train', vocabulary=spec, test_mode=False, filter_cfg={'filter_empty_gt': True})
    assert len(dataset.vocabulary) == 64
    assert all(dataset.vocabulary.is_base)
    assert labels_by_name(dataset) == names_in_file(picture_set, 'train')


def test_novel_objects_are_left_out_of_a_base_data_set(picture_set):
    spec = {'file': str(picture_set / 'vocabulary.json'), 'only': 'base'}
    base = set(Vocabulary.build(spec).words)
    kept = labels_by_name(coco(picture_set, vocabulary=spec))
    assert kept == [name for name in names_in_file(picture_set, 'test') if name in base]
    assert 0 < len(kept) < len(names_in_file(picture_set, 'test'))


def test_novel_objects_are_left_out_while_labels_count_all_words(picture_set):
    words = Vocabulary.from_file(picture_set / 'vocabulary.json')
    dataset = coco(picture_set, objects='base')
    base = set(words.select(is_base=True).words)
    assert dataset.metainfo['classes'] == words.words
    assert labels_by_name(dataset) == [name for name in names_in_file(picture_set, 'test') if name in base]
    assert 0 < len(labels_by_name(dataset)) < len(names_in_file(picture_set, 'test'))
    with pytest.raises(ConfigError, match="'novel'"):
        coco(picture_set, objects='novel')


def test_names_that_do_not_match_are_listed(picture_set, tmp_path):
    def rename(document: dict) -> None:
        document['categories'][0]['name'] = 'scarlet blob'

    folder = edited(picture_set, tmp_path, rename)
    missing = json.loads((picture_set / 'vocabulary.json').read_text())['words'][0]
    with pytest.raises(DataError) as caught:
        coco(folder)
    message = str(caught.value)
    assert str(folder / 'test.json') in message
    assert "Only in the file: 'scarlet blob'" in message
    assert f"only in the vocabulary: '{missing}'" in message
    words = [name for name in json.loads((folder / 'vocabulary.json').read_text())['words'] if name != missing]
    dropped = coco(folder, vocabulary=words, other_categories='drop')
    assert labels_by_name(dropped) == [name for name in names_in_file(folder, 'test') if name != 'scarlet blob']
    with pytest.raises(ConfigError, match="'ignore'"):
        coco(folder, other_categories='ignore')


@pytest.mark.parametrize('box', [[90, 5, 20, 10], [-8, 0, 20, 20], [200, 200, 5, 5], [0, 0, float('nan'), 4]])
def test_box_outside_its_picture_is_refused(picture_set, tmp_path, box):
    def move(document: dict) -> None:
        document['annotations'][4]['bbox'] = box

    folder = edited(picture_set, tmp_path, move)
    with pytest.raises(DataError) as caught:
        coco(folder)
    message = str(caught.value)
    assert f'{folder / "test.json"}: annotation 5 of picture test/images/' in message
    assert '96 x 96' in message
    assert 'box_slack' in message


def test_rounded_boxes_may_reach_over_the_edge_a_little(picture_set, tmp_path):
    def round_up(document: dict) -> None:
        document['annotations'][4]['bbox'] = [90, 5, 7.4, 10]

    folder = edited(picture_set, tmp_path, round_up)
    assert len(labels_by_name(coco(folder))) == len(names_in_file(folder, 'test'))
    with pytest.raises(DataError, match='annotation 5'):
        coco(folder, box_slack=0.5)


def test_record_without_a_field_is_named(picture_set, tmp_path):
    folder = edited(picture_set, tmp_path, lambda document: document['annotations'][0].pop('bbox'))
    with pytest.raises(DataError, match=r"test\.json: picture test/images/000000\.jpg.*'bbox'"):
        coco(folder)


def test_annotation_file_missing_or_not_coco(picture_set, tmp_path):
    with pytest.raises(MissingFileError, match=r'nowhere\.json does not exist; run the maker'):
        coco(picture_set, 'nowhere', remedy='run the maker')
    (tmp_path / 'test.json').write_text('{"images": [')
    words = {'vocabulary': ['a']}
    with pytest.raises(DataError, match='not COCO json'):
        coco(tmp_path, **words)
    (tmp_path / 'test.json').write_text('{"images": [], "annotations": [{"image_id": 1}], "categories": []}')
    with pytest.raises(DataError, match="'id'"):
        coco(tmp_path, **words)
    (tmp_path / 'test.json').write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(DataError, match='no images'):
        coco(tmp_path, **words)


def test_lvis_pictures_are_found_by_their_url(picture_set, tmp_path):
    def to_lvis(document: dict) -> None:
        for image in document['images']:
            image['coco_url'] = 'http://images.cocodataset.org/' + image.pop('file_name')

    folder = edited(picture_set, tmp_path, to_lvis)
    assert coco(folder).get_data_info(0)['img_path'] == str(folder / 'test' / 'images' / '000000.jpg')


def broken_copy(picture_set: Path, tmp_path: Path) -> Path:
    copy = tmp_path / 'broken'
    shutil.copytree(picture_set, copy)
    return copy


DET_READER = [{'type': 'mmdet.LoadImageFromFile', 'imdecode_backend': 'pillow'}, {'type': 'mmdet.PackDetInputs'}]
SEG_READER = [
    {'type': 'mmseg.LoadImageFromFile', 'imdecode_backend': 'pillow'},
    {'type': 'vlm_dense.LoadLabelMap'},
    {'type': 'mmseg.PackSegInputs'},
]


@pytest.mark.parametrize('damage', ['cut off', 'not a picture', 'empty', 'missing'])
def test_damaged_or_missing_picture_is_named(picture_set, tmp_path, damage):
    folder = broken_copy(picture_set, tmp_path)
    victim = folder / 'test' / 'images' / '000001.jpg'
    content = {'cut off': victim.read_bytes()[:-400], 'not a picture': b'hello' * 50, 'empty': b''}
    victim.unlink()
    if damage in content:
        victim.write_bytes(content[damage])
    dataset = coco(folder, pipeline=DET_READER, remedy='compose it again.')
    assert dataset[0]['inputs'].shape == (3, 96, 96)
    with pytest.raises(MissingFileError if damage == 'missing' else DataError) as caught:
        dataset[1]
    assert str(victim) in str(caught.value)
    assert 'compose it again.' in str(caught.value)


def test_damaged_label_map_is_named(picture_set, tmp_path):
    folder = broken_copy(picture_set, tmp_path)
    victim = folder / 'test' / 'labels' / '000002.png'
    victim.write_bytes(victim.read_bytes()[:60])
    dataset = segmentation(folder, 'test')
    assert dataset[0]['data_samples'].gt_sem_seg.data.shape == (1, 96, 96)
    with pytest.raises(DataError, match=r'labels/000002\.png cannot be decoded'):
        dataset[2]


def test_other_failures_of_a_pipeline_keep_their_own_error(picture_set):
    def fail(_results: dict) -> dict:
        raise ZeroDivisionError('a bug')

    with pytest.raises(ZeroDivisionError, match='a bug'):
        coco(picture_set, pipeline=[fail])[0]


def segmentation(folder: Path, part: str, **options) -> VocabularySegDataset:
    options.setdefault('vocabulary', {'file': str(folder / 'vocabulary.json')})
    prefix = {'img_path': f'{part}/images', 'seg_map_path': f'{part}/labels'}
    return VocabularySegDataset(data_root=str(folder), data_prefix=prefix, pipeline=SEG_READER, **options)


def test_label_maps_of_all_words_stay_as_they_are(picture_set):
    dataset = segmentation(picture_set, 'test')
    on_disk = np.asarray(Image.open(picture_set / 'test' / 'labels' / '000000.png'))
    np.testing.assert_array_equal(dataset[0]['data_samples'].gt_sem_seg.data[0].numpy(), on_disk)
    assert dataset.metainfo['classes'][-1] == 'background'
    assert len(dataset.metainfo['classes']) == 97


@pytest.mark.parametrize('part', ['train', 'test'])
@pytest.mark.parametrize('reverse', [False, True])
def test_label_maps_are_turned_into_the_asked_words(picture_set, part, reverse):
    full = Vocabulary.build(str(picture_set / 'vocabulary.json'))
    asked = full.select(is_base=True).words
    if reverse:
        asked = asked[::-1]
    dataset = segmentation(picture_set, part, vocabulary=list(asked), label_vocabulary=list(full.words))
    seen = set()
    for row in range(len(dataset)):
        on_disk = np.asarray(Image.open(dataset.get_data_info(row)['seg_map_path']))
        expected = np.full_like(on_disk, 255)
        expected[on_disk == len(full)] = len(asked)
        for label, word in enumerate(asked):
            expected[on_disk == full.index(word)] = label
        read = dataset[row]['data_samples'].gt_sem_seg.data[0].numpy()
        np.testing.assert_array_equal(read, expected)
        seen.update(np.unique(read).tolist())
    assert 64 in seen
    assert max(seen - {255}) == 64


def test_words_that_label_maps_lack_are_named(picture_set):
    with pytest.raises(DataError, match="'unicorn'"):
        segmentation(picture_set, 'test', vocabulary=['unicorn'], label_vocabulary=str(picture_set / 'vocabulary.json'))


def test_folder_missing_or_empty(picture_set, tmp_path):
    with pytest.raises(MissingFileError, match='does not exist'):
        segmentation(tmp_path, 'test', vocabulary=['a'])
    (tmp_path / 'test' / 'images').mkdir(parents=True)
    with pytest.raises(DataError, match=r'no \*\.jpg'):
        segmentation(tmp_path, 'test', vocabulary=['a'])


def test_attach_vocabulary_puts_the_words_on_the_sample():
    attach = AttachVocabulary(vocabulary={'words': ['cat', 'dog'], 'base': ['dog']})
    sample = attach({'data_samples': DetDataSample()})['data_samples']
    assert sample.metainfo['vocabulary'] == Vocabulary(('cat', 'dog'), (False, True))
    with pytest.raises(ConfigError, match='PackDetInputs'):
        attach({'img': np.zeros((2, 2, 3))})
    with pytest.raises(VocabularyError):
        AttachVocabulary(vocabulary=['cat', 'cat '])
    with pytest.raises(MissingFileError, match='gone'):
        AttachVocabulary(vocabulary={'file': 'gone.json'})


@pytest.mark.parametrize(('name', 'scope'), [('pictures_detection', 'mmdet'), ('pictures_segmentation', 'mmseg')])
def test_fragments_load_batches_with_their_words(picture_set, name, scope, monkeypatch):
    monkeypatch.chdir(picture_set.parent)
    (picture_set.parent / 'data').mkdir(exist_ok=True)
    if not (picture_set.parent / 'data' / 'pictures').exists():
        (picture_set.parent / 'data' / 'pictures').symlink_to(picture_set)
    init_default_scope(scope)
    config = Config.fromfile(CONFIGS / f'{name}.py')
    for part, num_words in (('train', 64), ('val', 96), ('test', 96)):
        loader = config[f'{part}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        batch = next(iter(Runner.build_dataloader(loader, seed=0)))
        assert [picture.shape for picture in batch['inputs']] == [torch.Size([3, 384, 384])] * 4
        for sample in batch['data_samples']:
            assert len(sample.metainfo['vocabulary']) == num_words
            assert 'scale_factor' in sample.metainfo
            if scope == 'mmdet':
                assert sample.gt_instances.labels.max() < num_words
                assert len(sample.gt_instances.masks) == len(sample.gt_instances.bboxes) > 0
            else:
                values = set(sample.gt_sem_seg.data.unique().tolist())
                assert num_words in values, 'background is the last column'
                assert max(values - {255}) == num_words


def test_types_are_found_from_any_scope():
    for scope in ('mmdet', 'mmseg'):
        with DATASETS.switch_scope_and_registry(scope) as registry:
            assert registry.get('vlm_dense.VocabularyCocoDataset') is VocabularyCocoDataset
            assert registry.get('vlm_dense.VocabularySegDataset') is VocabularySegDataset


def test_fragments_are_read_without_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('pictures_detection', 'pictures_segmentation'):
        assert Config.fromfile(CONFIGS / f'{name}.py').train_dataloader.dataset.type.startswith('vlm_dense.')


def test_ovcoco_words_are_the_published_split():
    vocabulary = Vocabulary.build({'file': vocabulary_path('ovcoco')})
    assert len(vocabulary) == 65
    assert sum(vocabulary.is_base) == 48
    novel = 'airplane bus cat dog cow elephant umbrella tie snowboard skateboard cup knife cake couch keyboard'
    assert sorted(vocabulary.select(is_base=False).words) == sorted([*novel.split(' '), 'sink', 'scissors'])
    from mmdet.datasets import CocoDataset

    assert set(vocabulary.words) <= set(CocoDataset.METAINFO['classes'])
    with pytest.raises(MissingFileError, match='ovcoco'):
        vocabulary_path('ovcocoo')
