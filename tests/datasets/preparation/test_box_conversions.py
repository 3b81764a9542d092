"""Annotation files that are made from others, read with pycocotools."""

import json

import pytest
from miniatures.boxes import VAL_2014
from pycocotools.coco import COCO

from vlm_dense.datasets.preparation.class_lists import class_list
from vlm_dense.datasets.preparation.coco_splits import PICTURES_65_15
from vlm_dense.datasets.vocabularies import vocabulary_path


def names_of(coco: COCO, image: int) -> list[str]:
    return sorted(coco.cats[entry['category_id']]['name'] for entry in coco.imgToAnns[image])


@pytest.mark.parametrize(
    ('part', 'categories', 'objects'),
    [
        ('all_2', 65, {139: ['cat', 'person'], 285: ['car', 'person']}),
        ('seen_2', 48, {139: ['person'], 285: ['car', 'person']}),
        ('unseen_2', 17, {139: ['cat']}),
    ],
)
def test_ov_coco_keeps_pictures_with_one_of_the_words(prepared, part, categories, objects):
    made = prepared('ov_coco')
    annotations = made.root / 'coco' / 'annotations'
    coco, whole = COCO(annotations / f'instances_val2017_{part}.json'), COCO(annotations / 'instances_val2017.json')
    assert {image: names_of(coco, image) for image in coco.getImgIds()} == objects
    assert len(coco.getCatIds()) == categories
    assert all(whole.cats[number] == coco.cats[number] for number in coco.getCatIds()), 'ids stay those of COCO'
    assert all(whole.anns[number] == coco.anns[number] for number in coco.anns), 'crowds and outlines stay'


def test_ov_coco_words_are_those_of_the_list(prepared):
    made = prepared('ov_coco')
    coco = COCO(made.root / 'coco/annotations/instances_val2017_all_2.json')
    with open(vocabulary_path('ovcoco'), encoding='utf-8') as file:
        assert {category['name'] for category in coco.cats.values()} == set(json.load(file)['words'])


def test_65_15_tests_on_the_published_pictures(prepared):
    made = prepared('coco_65_15')
    ids = json.loads(PICTURES_65_15.read_text(encoding='utf-8'))['ids']
    assert len(set(ids)) == len(ids) == 10098
    coco = COCO(made.root / 'coco/annotations/instances_val2014_65_15.json')
    assert coco.getImgIds() == [image for image in VAL_2014 if image in set(ids)] == [196, 285]
    assert names_of(coco, 196) == ['cat', 'person', 'stop sign'], 'seen objects are needed for the generalised task'
    assert len(coco.getCatIds()) == 80


def test_minival_is_what_lies_in_val2017(prepared):
    made = prepared('lvis_minival')
    minival = json.loads((made.root / 'lvis_v1/annotations/lvis_v1_minival.json').read_text())
    whole = json.loads((made.root / 'lvis_v1/annotations/lvis_v1_val.json').read_text())
    assert [image['coco_url'].split('/')[-2] for image in whole['images']] == ['val2017', 'train2017', 'val2017']
    assert minival['images'] == [whole['images'][0], whole['images'][2]]
    assert minival['annotations'] == [entry for entry in whole['annotations'] if entry['image_id'] in (139, 285)]
    assert minival['categories'] == whole['categories']


def test_voc2007_boxes_and_difficult_objects(prepared):
    made = prepared('voc2007')
    coco = COCO(made.root / 'VOCdevkit/VOC2007/annotations/voc07_test.json')
    assert tuple(coco.cats[number]['name'] for number in range(1, 21)) == class_list('mmdet:VOCDataset')
    assert [coco.imgs[number]['file_name'] for number in (1, 2)] == ['000001.jpg', '000002.jpg']
    found = {
        (entry['image_id'], coco.cats[entry['category_id']]['name']): (entry['bbox'], entry['iscrowd'])
        for entry in coco.anns.values()
    }
    # A box from 1 to W covers the whole picture: it starts at 0 and is W wide.
    assert found == {
        (1, 'dog'): ([0, 0, 30, 48], 0),
        (1, 'person'): ([10, 4, 54, 36], 1),
        (2, 'car'): ([5, 6, 20, 14], 0),
    }
    assert all(entry['area'] == entry['bbox'][2] * entry['bbox'][3] for entry in coco.anns.values())


def test_a_new_source_is_converted_again(prepared):
    made = prepared('ov_coco')
    source = made.root / 'coco/annotations/instances_val2017.json'
    document = json.loads(source.read_text())
    # The cat leaves its picture.
    document['annotations'] = [entry for entry in document['annotations'] if entry['id'] != 2]
    source.write_text(json.dumps(document))
    assert made.prepare(archives=None).good
    assert COCO(made.root / 'coco/annotations/instances_val2017_unseen_2.json').getImgIds() == []
