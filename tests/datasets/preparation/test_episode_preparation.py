"""PASCAL-5i, COCO-20i and FSS-1000: maps by numpy, HSNet's lists and our own."""

import numpy as np
import pytest
from miniatures.episodes import COCO_SIDE, COCO_TRAIN, COCO_VAL, VOC_SBD, VOC_TRAIN, VOC_VAL, voc_map
from PIL import Image

VOC, LISTS = 'VOCdevkit/VOC2012', 'VOCdevkit/VOC2012/ImageSets/Episodes'


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def pairs(path):
    return [line for line in path.read_text().splitlines() if not line.startswith('#')]


def test_own_lists_have_every_picture_with_enough_of_a_class(place):
    made = place('pascal5i')
    assert made.prepare(train=True).good
    maps = {
        'val': {name: voc_map(row % 4, row // 4) for row, name in enumerate(VOC_VAL)},
        'trn': {name: voc_map(row, 4) for row, name in enumerate(VOC_SBD)} | {VOC_TRAIN: voc_map(0, 2)},
    }
    for part, map_of in maps.items():
        for fold in range(4):
            expected = [
                f'{name}__{number:02}'
                for name, map_HW in sorted(map_of.items())
                for number in range(5 * fold + 1, 5 * fold + 6)
                if (map_HW == number).sum() >= 2 * 32 * 32
            ]
            found = made.root / LISTS / part / f'fold{fold}.txt'
            assert pairs(found) == expected
            assert expected
            assert found.read_text().startswith("# This project's own list")


def test_training_maps_are_vocs_where_it_has_them_and_none_is_of_a_test_picture(place):
    made = place('pascal5i')
    assert made.prepare(train=True).good
    folder = made.root / VOC / 'SegmentationClassAug'
    assert {path.stem for path in folder.iterdir()} == {VOC_TRAIN, *VOC_SBD}
    assert np.array_equal(read(folder / f'{VOC_TRAIN}.png'), voc_map(0, 2))
    assert set(np.unique(read(folder / f'{VOC_SBD[1]}.png'))) == set(np.unique(voc_map(1, 4))) - {255}


def test_maps_of_test_pictures_beside_those_of_training_are_not_learned(place):
    made = place('pascal5i')
    folder = made.root / VOC / 'SegmentationClassAug'
    folder.mkdir(parents=True)
    Image.fromarray(voc_map(0)).save(folder / f'{VOC_VAL[0]}.png')
    assert made.prepare(train=True).good
    listed = [line for fold in range(4) for line in pairs(made.root / LISTS / f'trn/fold{fold}.txt')]
    assert {line.split('__')[0] for line in listed} == {VOC_TRAIN, *VOC_SBD}


@pytest.mark.parametrize('archives_first', [True, False])
def test_official_lists_are_taken_and_replace_our_own(place, archives_first):
    made = place('pascal5i')
    official = made.archives / 'splits/pascal/val'
    if not archives_first:
        assert made.prepare().good
    official.mkdir(parents=True)
    for fold in range(4):
        (official / f'fold{fold}.txt').write_text(f'{VOC_VAL[fold]}__{5 * fold + 1:02}\n')
    report = made.prepare()
    assert report.good
    assert sum('taken from' in line for line in report.made) == 4
    assert pairs(made.root / LISTS / 'val/fold2.txt') == [f'{VOC_VAL[2]}__11']
    assert made.prepare().made == []


def test_a_list_that_does_not_fit_is_a_defect(prepared):
    made = prepared('pascal5i')
    for fold, line, problem in (
        (0, '2007_009999__01', 'picture is missing'),
        (1, f'{VOC_VAL[1]}__08', 'does not show class 8, for which it is listed'),
        (2, 'nothing', 'cannot be used'),
    ):
        (made.root / LISTS / f'val/fold{fold}.txt').write_text(f'{line}\n')
        report = made.check()
        assert any(problem in str(defect) for defect in report.defects), problem
    (made.root / LISTS / 'val/fold3.txt').unlink()
    assert any(defect.problem == 'missing' for defect in made.check().defects)


def test_coco_maps_are_drawn_from_the_largest_to_the_smallest(place):
    made = place('coco20i')
    assert made.prepare(train=True).good
    for part, numbers in (('val2014', COCO_VAL), ('train2014', COCO_TRAIN)):
        for fold, number in enumerate(numbers):
            label_map = read(made.root / f'coco/annotations/{part}/COCO_{part}_{number:012}.png')
            assert label_map.shape == (COCO_SIDE, COCO_SIDE)
            centres = label_map[32:256:64, 32::64]
            assert np.array_equal(centres, (fold + 1 + 4 * np.arange(20)).reshape(4, 5))
            assert label_map[15, 25] == (fold + 1) % 4 + 1, 'a small object in front'
            assert (label_map[260:] == (80 if fold == 0 else 0)).all(), 'a group behind'
    own = pairs(made.root / 'coco/episodes/val/fold1.txt')
    assert own == [f'val2014/COCO_val2014_{COCO_VAL[1]:012}__{number:02}' for number in range(2, 81, 4)]


def test_maps_that_lie_in_place_stay(place):
    made = place('coco20i')
    target = made.root / f'coco/annotations/val2014/COCO_val2014_{COCO_VAL[0]:012}.png'
    target.parent.mkdir(parents=True)
    Image.fromarray(np.full((COCO_SIDE, COCO_SIDE), 5, np.uint8)).save(target)
    assert made.prepare().good
    assert (read(target) == 5).all()
    assert len(list(target.parent.iterdir())) == len(COCO_VAL)
    (made.root / 'coco/val2014/COCO_val2014_000000000001.jpg').write_bytes(b'')
    (defect,) = made.prepare().defects
    assert str(defect).startswith(f'{made.root}/coco/val2014/COCO_val2014_000000000001.jpg: has no entry in coco/annot')


def test_fss_masks_become_maps_and_folders_are_shared_out(place):
    made = place('fss1000')
    assert made.prepare().good
    mask_HW3 = read(made.root / 'fss1000/pictures/acorn/2.png')
    assert np.array_equal(read(made.root / 'fss1000/maps/acorn/2.png'), (mask_HW3[..., 0] >= 128).astype(np.uint8))
    parts = {part: set(pairs(made.root / f'fss1000/episodes/{part}.txt')) for part in ('trn', 'val', 'test')}
    assert {part: len(names) for part, names in parts.items()} == dict(trn=3, val=1, test=1)
    assert len(set().union(*parts.values())) == 5
    both = made.root / 'fss1000/episodes/val.txt'
    both.write_text(''.join(f'{name}\n' for name in sorted(parts['test'])) + 'pear\n')
    problems = [str(defect) for defect in made.check().defects]
    assert any('as another list does' in problem for problem in problems)
    assert any('pear: listed class has no pictures' in problem for problem in problems)


def test_official_list_of_test_classes(place):
    made = place('fss1000')
    folder = made.archives / 'splits/fss'
    folder.mkdir(parents=True)
    for part, names in (('trn', 'acorn\nzebra\n'), ('val', 'zucchini\n'), ('test', 'ab_wheel\nadidas_logo1\n')):
        (folder / f'{part}.txt').write_text(names)
    assert made.prepare().good
    assert pairs(made.root / 'fss1000/episodes/test.txt') == ['ab_wheel', 'adidas_logo1']
