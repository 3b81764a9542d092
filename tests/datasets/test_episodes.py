"""Lists of episodes, how they are drawn, and the data sets that ask for them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from miniatures import provide
from miniatures.episodes import COCO_VAL, FSS_CLASSES, VOC_VAL, voc_map
from mmdet.datasets.samplers import ClassAwareSampler
from PIL import Image

from vlm_dense.datasets import FoldEpisodes, FolderEpisodes, vocabulary_path
from vlm_dense.datasets.episode_lists import Pair, draw_episodes, fold_numbers, read_pairs
from vlm_dense.datasets.preparation import prepare
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.text.vocabulary import Vocabulary

PIPELINE = [
    dict(type='mmseg.LoadImageFromFile'),
    dict(type='vlm_dense.LoadLabelMap'),
    dict(type='mmseg.PackSegInputs'),
    dict(type='vlm_dense.AttachVocabulary'),
]
VOC, COCO = (dict(file=vocabulary_path(name)) for name in ('voc20', 'coco20i'))


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('episodes')
    for name in ('pascal5i', 'coco20i', 'fss1000'):
        (folder / name).mkdir()
        provide(name, folder / name, folder / 'data')
        assert prepare(name, folder / 'data', archives=folder / name, train=True, partial=True).good
    return folder / 'data'


def pascal(root: Path, **changes: object) -> FoldEpisodes:
    settings = dict(
        data_root=str(root / 'VOCdevkit/VOC2012'),
        ann_file='ImageSets/Episodes',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
        vocabulary=VOC,
        layout='blocks',
        pipeline=PIPELINE,
    )
    if changes.get('part') != 'trn':
        settings['data_prefix'] = dict(img_path='JPEGImages', seg_map_path='SegmentationClass')
    return FoldEpisodes(**{**settings, **changes})


def coco(root: Path, **changes: object) -> FoldEpisodes:
    settings = dict(
        data_root=str(root / 'coco'),
        ann_file='episodes',
        data_prefix=dict(img_path='.', seg_map_path='annotations'),
        vocabulary=COCO,
        layout='stride',
        pipeline=PIPELINE,
    )
    return FoldEpisodes(**{**settings, **changes})


def fss(root: Path, part: str = 'test', **changes: object) -> FolderEpisodes:
    settings = dict(
        data_root=str(root / 'fss1000'),
        ann_file=f'episodes/{part}.txt',
        data_prefix=dict(img_path='pictures', seg_map_path='maps'),
        pipeline=PIPELINE,
    )
    return FolderEpisodes(**{**settings, **changes})


@pytest.mark.parametrize('fold', range(4))
def test_folds_are_neighbours_or_every_fourth(fold: int) -> None:
    assert fold_numbers(fold, 20, 'blocks') == tuple(5 * fold + row + 1 for row in range(5))
    assert fold_numbers(fold, 80, 'stride') == tuple(fold + 4 * row + 1 for row in range(20))


def test_words_are_those_of_the_class_lists() -> None:
    words = Vocabulary.build(COCO).words
    own = Vocabulary.from_dataset('coco').words
    renamed = dict(motorcycle='motorbike', airplane='aeroplane', couch='sofa', tv='tv monitor')
    assert words == tuple(renamed.get(word, word) for word in own)


def test_lists_are_read_and_wrong_lines_told(tmp_path: Path) -> None:
    path = tmp_path / 'fold0.txt'
    path.write_text('# a comment\n2007_000452__09\n\nval2014/COCO__val_1.jpg__20\n')
    assert read_pairs(path, 20, 'help.') == [Pair('2007_000452', 9), Pair('val2014/COCO__val_1', 20)]
    for line in ('2007_000452', '2007__21', '2007__0', '__3', '2007__x'):
        path.write_text(f'2007_000452__09\n{line}\n')
        with pytest.raises(DataError, match=rf"line 2: '{line}' is no picture with .* 1 to 20, .*help\."):
            read_pairs(path, 20, 'help.')
    path.write_text('# nothing\n')
    with pytest.raises(DataError, match='is empty; help'):
        read_pairs(path, 20, 'help.')
    with pytest.raises(MissingFileError, match='does not exist; help'):
        read_pairs(tmp_path / 'gone.txt', 20, 'help.')


PAIRS = [Pair(f'p{row}', (1, 5, 9, 5, 1, 1, 9)[row]) for row in range(7)]


def test_pascal_goes_through_the_list_again_and_again() -> None:
    drawn = draw_episodes(PAIRS, 'cycle', 17, 0, (1, 5, 9))
    assert list(drawn) == PAIRS
    assert list(drawn.values()) == [sum(episode % 7 == row for episode in range(17)) for row in range(7)]
    assert draw_episodes(PAIRS, 'cycle', 3, 0, (1, 5, 9)) == dict.fromkeys(PAIRS[:3], 1)
    assert draw_episodes(PAIRS, 'all', 3, 0, (1, 5, 9)) == dict.fromkeys(PAIRS, 1)


@pytest.mark.parametrize('seed', [0, 3])
def test_coco_draws_what_global_numpy_draws_after_its_seed(seed: int) -> None:
    numbers = [1, 5, 9]
    by_class = {number: [pair.name for pair in PAIRS if pair.number == number] for number in numbers}
    known = np.random.get_state()
    np.random.seed(seed)
    expected = []
    for _ in range(50):
        number = np.random.choice(numbers, 1, replace=False)[0]
        expected.append(Pair(str(np.random.choice(by_class[number], 1, replace=False)[0]), int(number)))
    np.random.set_state(known)
    assert draw_episodes(PAIRS, 'classes', 50, seed, (1, 5, 9)) == dict(Counter(expected))


def test_a_class_without_pictures_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match=r'no picture of the classes \[13\]'):
        draw_episodes(PAIRS, 'classes', 5, 0, (1, 13))
    for wrong in (dict(draw='some', count=1), dict(draw='cycle', count=0)):
        with pytest.raises(ConfigError, match="write 'all', 'cycle' or 'classes'"):
            draw_episodes(PAIRS, seed=0, numbers=(1,), **wrong)


def test_an_episode_asks_for_others_and_its_class(root: Path) -> None:
    dataset = pascal(root, fold=2, draw='cycle')
    assert [one['episodes'] for one in map(dataset.get_data_info, range(2))] == [500, 500]
    assert dataset.metainfo['classes'] == ('dining table', 'dog', 'horse', 'motorbike', 'person')
    sample = dataset[1]['data_samples']
    assert sample.img_id == f'{VOC_VAL[6]}__12'
    assert sample.vocabulary.words == sample.phrases == ('others', 'dog')
    raw_HW = voc_map(2, 1)
    expected_HW = np.where(raw_HW == 255, 255, (raw_HW == 12).astype(np.uint8))
    assert np.array_equal(sample.gt_sem_seg.data[0].numpy(), expected_HW)
    assert {0, 1, 255} == set(np.unique(expected_HW))


def test_training_never_asks_for_the_fold_and_calls_it_others(root: Path) -> None:
    for fold in range(4):
        train = pascal(root, fold=fold, part='trn')
        asked = [train[row]['data_samples'] for row in range(len(train))]
        tested = set(pascal(root, fold=fold).metainfo['classes'])
        assert {sample.phrases[1] for sample in asked} & tested == set()
        assert len(train.metainfo['classes']) == 15
        assert all(not sample.img_id.startswith(tuple(VOC_VAL)) for sample in asked)
        # Where the fold's classes lie in a training picture, the label is "others".
        for sample in asked:
            with Image.open(sample.seg_map_path) as picture:
                raw_HW = np.asarray(picture)
            is_tested_HW = np.isin(raw_HW, fold_numbers(fold, 20, 'blocks'))
            assert (sample.gt_sem_seg.data[0].numpy()[is_tested_HW] == 0).all()


def test_coco_reads_maps_beside_its_annotations(root: Path) -> None:
    dataset = coco(root, fold=1, draw='classes')
    assert sum(dataset.get_data_info(row)['episodes'] for row in range(len(dataset))) == 1000
    assert len(dataset) == 20
    found = {dataset.get_data_info(row)['phrases'][1] for row in range(20)}
    assert found == set(dataset.metainfo['classes'])
    sample = dataset[0]['data_samples']
    assert sample.img_id.startswith(f'val2014/COCO_val2014_{COCO_VAL[1]:012}__')
    assert int((sample.gt_sem_seg.data == 1).sum()) == pytest.approx(64 * 64, abs=150)
    assert len(coco(root, fold=1, part='trn')) == 60 + 1, 'the group is of a class that another picture shows too'


def test_folders_are_words(root: Path) -> None:
    parts = {part: fss(root, part) for part in ('trn', 'val', 'test')}
    words = [word for dataset in parts.values() for word in dataset.metainfo['classes']]
    assert sorted(words) == [name.replace('_', ' ') for name in FSS_CLASSES]
    assert [len(dataset) for dataset in parts.values()] == [6, 2, 2]
    sample = parts['test'][0]['data_samples']
    assert sample.vocabulary.words == ('others', parts['test'].metainfo['classes'][0])
    assert sample.gt_sem_seg.data.float().mean() == 0.5


def test_a_sampler_of_mmdet_balances_the_classes(root: Path) -> None:
    dataset = coco(root, fold=0, part='trn')
    rows = list(ClassAwareSampler(dataset, seed=0))
    drawn = Counter(dataset.get_cat_ids(row)[0] for row in rows)
    assert len(drawn) == 60
    assert max(drawn.values()) - min(drawn.values()) <= 1


def test_errors_name_place_and_remedy(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fold=4, layout='blocks': write a fold from 0 to 3"):
        pascal(root, fold=4)
    with pytest.raises(ConfigError, match="part='test'; write 'trn' or 'val'"):
        pascal(root, fold=0, part='test')
    with pytest.raises(MissingFileError, match=r'fold0\.txt does not exist; run tools/data/prepare\.py'):
        pascal(root, fold=0, ann_file='ImageSets/Segmentation')
    with pytest.raises(MissingFileError, match=r'holds no lists fold\*\.txt'):
        pascal(root, fold=0, ann_file='ImageSets/Segmentation', part='trn')
    with pytest.raises(MissingFileError, match=r'folder .*gone does not exist'):
        fss(root, data_prefix=dict(img_path='gone', seg_map_path='maps'))
    (tmp_path / 'twice.txt').write_text('acorn\nacorn\n')
    with pytest.raises(DataError, match='names a folder twice'):
        fss(root, ann_file=str(tmp_path / 'twice.txt'))
    (tmp_path / 'other.txt').write_text('acorn\npear\n')
    with pytest.raises(DataError, match=r'pear holds no \*\.jpg pictures'):
        fss(root, ann_file=str(tmp_path / 'other.txt'))
    with pytest.raises(DataError, match="a class is called 'dog', as everything else is"):
        pascal(root, fold=2, others='Dog')
