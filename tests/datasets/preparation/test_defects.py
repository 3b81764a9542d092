"""Each planted defect is found, and its line names the thing, the place and a remedy."""

import json

import cv2
import numpy as np
import pytest
from miniatures import provide
from miniatures.packing import blocks_map, photograph, png
from PIL import Image

from vlm_dense.datasets.preparation import check, facts

VAL = 'coco/val2017/000000000139.jpg'
ANN = 'coco/annotations/instances_val2017.json'
LABELS = 'ade/ADEChallengeData2016/annotations/validation/ADE_val_00000001.png'
PICTURE = 'ade/ADEChallengeData2016/images/validation/ADE_val_00000001.jpg'


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def only_defect(made, place, problem):
    """The one defect there is, which must be at ``place`` and say ``problem``."""
    defects = made.check().defects
    assert len(defects) == 1, [str(defect) for defect in defects]
    line = str(defects[0])
    assert '\n' not in line
    assert line.startswith(f'{made.root / place}')
    assert problem in line
    assert line.count(';') == 1, 'what is wrong; what to do'
    return defects[0]


def test_missing_picture(prepared):
    made = prepared('coco')
    (made.root / VAL).unlink()
    defect = only_defect(made, VAL, 'picture is missing')
    assert f'prepare.py coco --root {made.root}' in defect.remedy
    assert made.prepare().good, 'the archive still has it'


def test_missing_folder_of_pictures_is_one_line(prepared):
    made = prepared('coco')
    for path in (made.root / 'coco/val2017').iterdir():
        path.unlink()
    only_defect(made, 'coco/val2017', '3 pictures are missing')


def test_truncated_picture(prepared):
    made = prepared('coco')
    content = (made.root / VAL).read_bytes()
    (made.root / VAL).write_bytes(content[: len(content) * 2 // 3])
    only_defect(made, VAL, 'cannot be read')


def test_picture_of_another_size(prepared):
    made = prepared('coco')
    (made.root / VAL).write_bytes(photograph(1, 80, 48))
    only_defect(made, VAL, 'is 80 x 48 pixels, its annotations say 64 x 48')


@pytest.mark.parametrize('side', [1, 5, 7])
def test_tiny_picture(prepared, side):
    made = prepared('coco')
    (made.root / VAL).write_bytes(photograph(1, side, side))
    only_defect(made, VAL, f'is {side} x {side} pixels')


def test_picture_that_readers_turn(prepared):
    made = prepared('coco')
    turned = Image.new('RGB', (48, 64))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(made.root / VAL, exif=exif)
    assert cv2.imread(str(made.root / VAL)).shape == (48, 64, 3), 'what the annotations say'
    assert made.check().good
    exif[0x0112] = 3
    turned.save(made.root / VAL, exif=exif)
    only_defect(made, VAL, 'is 48 x 64 pixels, its annotations say 64 x 48')


def test_another_name_of_a_category(prepared):
    made = prepared('coco')
    edit(made.root / ANN, lambda document: document['categories'][0].update(name='human'))
    lines = [str(defect) for defect in made.check().defects]
    assert len(lines) == 2
    assert (
        f"{made.root / ANN}, categories[0]: 'human' is no word, no word is close (class list mmdet:CocoDataset)"
        in lines[0]
    )
    assert f"{made.root / ANN}, 'person': is the name of nothing in the file (class list mmdet:CocoDataset)" in lines[1]


def test_a_misspelt_name_of_a_category(prepared):
    made = prepared('coco')
    edit(made.root / ANN, lambda document: document['categories'][0].update(name='persn'))
    only_defect(made, ANN, "categories[0]: 'persn' is no word, the closest word is 'person'")


@pytest.mark.parametrize(
    ('part', 'change', 'problem'),
    [
        ('annotations', {'image_id': 77}, 'annotations[0]: image 77 is not listed'),
        ('annotations', {'category_id': 26}, 'annotations[0]: category 26 is not listed'),
        ('annotations', {'id': 2}, 'annotations[1]: id 2 was used before'),
        ('annotations', {'id': [2]}, "annotations[0]: 'id' is [2]"),
    ],
)
def test_wrong_ids(prepared, part, change, problem):
    made = prepared('coco')
    edit(made.root / ANN, lambda document: document[part][0].update(change))
    only_defect(made, ANN, problem)


def test_wrong_number_of_pictures(prepared):
    made = prepared('coco')
    edit(made.root / ANN, lambda document: document['images'].pop())
    edit(made.root / ANN, lambda document: document['annotations'].pop())
    defects = made.check(partial=False, counts={ANN: (3,)}).defects
    assert [defect.problem for defect in defects] == ['2 pictures instead of 3']


@pytest.mark.parametrize(
    'content',
    ['', '{"images": []}', '[]', '{"images": 1, "annotations": [], "categories": []}']
    + ['{"images": [{"id": 1, "width": 2, "height": 2}], "annotations": [], "categories": []}'],
)
def test_broken_annotation_file(prepared, content):
    made = prepared('coco')
    (made.root / ANN).write_text(content)
    only_defect(made, ANN, 'is no annotation file in the form of COCO')


def test_missing_annotation_file(prepared):
    made = prepared('coco')
    (made.root / ANN).unlink()
    only_defect(made, ANN, 'missing')


def test_wrong_label(prepared):
    made = prepared('ade20k_150')
    (made.root / LABELS).write_bytes(png(blocks_map([0, 3, 151, 255])))
    only_defect(made, LABELS, 'has the values [151, 255], which are no labels')


def test_map_of_another_size(prepared):
    made = prepared('ade20k_150')
    (made.root / LABELS).write_bytes(png(blocks_map([1], 64, 40)))
    only_defect(made, LABELS, f'is 64 x 40 pixels, its picture {made.root / PICTURE} is 64 x 48')


def test_map_of_three_channels(prepared):
    made = prepared('ade20k_150')
    (made.root / LABELS).write_bytes(photograph(2, kind='PNG'))
    only_defect(made, LABELS, 'is a RGB picture, not a label map of one channel')


@pytest.mark.parametrize(('gone', 'problem'), [(LABELS, 'label map is missing'), (PICTURE, 'label map has no picture')])
def test_half_a_pair(prepared, gone, problem):
    made = prepared('ade20k_150')
    (made.root / gone).unlink()
    only_defect(made, LABELS, problem)


def test_every_defect_is_listed(prepared):
    made = prepared('coco')
    (made.root / VAL).unlink()
    (made.root / 'coco/val2017/000000000285.jpg').write_bytes(b'no picture')
    edit(made.root / ANN, lambda document: document['annotations'][0].update(image_id=77))
    problems = [defect.problem for defect in made.check().defects]
    assert len(problems) == 3
    assert any('image 77 is not listed' in problem for problem in problems)
    assert any('picture is missing' in problem for problem in problems)
    assert any('cannot be read' in problem for problem in problems)


def test_many_of_a_kind_are_counted(prepared):
    made = prepared('coco')
    edit(made.root / ANN, lambda document: document['categories'].clear())
    report = made.check()
    names = [defect for defect in report.defects if 'is the name of nothing' in defect.problem]
    assert len(names) == 21
    assert '(60 more like it' in names[-1].problem


def test_sixteen_bit_map_with_the_wrong_ignore_value(prepared):
    made = prepared('ade20k_847')
    place = 'ade/ADE20K_2021_17_01/annotations_detectron2/validation/ADE_val_00000001.tif'
    wrong = blocks_map([0, 846, 847, 65535], dtype=np.uint16)
    Image.fromarray(wrong).save(made.root / place)
    only_defect(made, place, 'has the values [847], which are no labels')


def test_panoptic_map_with_other_segments(prepared):
    made = prepared('coco_panoptic')
    place = 'coco/annotations/panoptic_val2017/000000000139.png'
    wrong = np.zeros((48, 64, 3), np.uint8)
    wrong[5:30, 4:30] = (112, 17, 1)  # 112 + 17 * 256 + 65536 = 70000
    (made.root / place).write_bytes(png(wrong))
    only_defect(made, place, 'segment 300 has no pixel')


def test_class_list_of_one_small_data_set(prepared):
    made = prepared('odinw13')
    ann = made.root / 'odinw/pothole/valid/annotations_without_background.json'
    edit(ann, lambda document: document['categories'][0].update(name='hole'))
    only_defect(made, ann, "categories[0]: 'hole' is no word, the closest word is 'pothole'")


def test_size_that_a_file_holds_as_text(prepared):
    made = prepared('flickr30k')
    place = 'flickr30k_entities/flickr30k_images/1000092795.jpg'
    (made.root / place).write_bytes(photograph(1, 80, 48))
    only_defect(made, place, 'is 80 x 48 pixels, its annotations say 64 x 48')


def test_what_a_user_unpacks_is_asked_for(place):
    made = place('objects365_v2')
    (made.root / 'objects365v2/annotations/zhiyuan_objv2_val.json').unlink()
    defect = only_defect(made, 'objects365v2/annotations/zhiyuan_objv2_val.json', 'missing')
    assert defect.remedy == f'put the official files of objects365_v2 below {made.root} as docs/datasets.md shows'


def test_pictures_that_nobody_can_read_are_no_defect(prepared):
    from mmdet.datasets.objects365 import objv2_ignore_list

    made = prepared('objects365_v2')
    ann = made.root / 'objects365v2/annotations/zhiyuan_objv2_val.json'
    lost = {'id': 3, 'file_name': f'images/v2/{objv2_ignore_list[0]}', 'width': 9, 'height': 9}
    edit(ann, lambda document: document['images'].append(lost))
    assert made.check().good


def test_a_root_that_is_not_there_is_not_made(tmp_path):
    assert len(check('coco', tmp_path / 'none').defects) == 1
    assert not (tmp_path / 'none').exists()


def test_a_good_file_is_read_once(prepared, monkeypatch):
    made = prepared('coco')
    read = []
    original = facts.read_fact
    monkeypatch.setattr(facts, 'read_fact', lambda path, kind: read.append(path) or original(path, kind))
    assert made.check().good
    assert read == []
    (made.root / VAL).write_bytes(photograph(5))
    assert made.check().good
    assert read == [made.root / VAL]


def test_what_an_interrupted_run_has_read_is_not_read_again(place, monkeypatch):
    made = place('coco')
    original = facts.read_fact

    def interrupted(path, kind):
        if path.name == '000000000632.jpg':
            raise KeyboardInterrupt
        return original(path, kind)

    monkeypatch.setattr(facts, 'read_fact', interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.prepare()
    read = []
    monkeypatch.setattr(facts, 'read_fact', lambda path, kind: read.append(path.name) or original(path, kind))
    assert made.prepare().good
    assert read == ['000000000632.jpg']


def test_one_root_serves_several_data_sets(prepared):
    made = prepared('coco')
    for dataset in ('coco_panoptic', 'ov_coco', 'refcoco'):
        provide(dataset, made.archives, made.root)
        made.dataset = dataset
        report = made.prepare()
        assert report.good, [str(defect) for defect in report.defects]
