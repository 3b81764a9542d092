"""Every planted defect is found and named, once, and nothing else is."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from miniatures.maps import ADE_2016, place_ade20k_instance, place_ade20k_panoptic
from planted import PLANTS, WIDTH, WORDS, clean_coco, put_junk
from pycocotools import mask as mask_utils

from vlm_dense.datasets.annotation_checks import CheckOptions, Defects, check_annotations
from vlm_dense.datasets.annotation_checks.masks import _read_counts
from vlm_dense.errors import DataError, MissingFileError
from vlm_dense.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_words(WORDS)


@pytest.fixture
def check(tmp_path: Path):
    def run(content: object, name: str = 'a.json', **options: object) -> Defects:
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return check_annotations(tmp_path / name, CheckOptions(**options))

    return run


def counts(found: Defects) -> dict[str, int]:
    return {kind: len(defects) for kind, defects in found.by_kind().items()}


def places(found: Defects, kind: str) -> str:
    return '; '.join(map(str, found.by_kind()[kind]))


def test_a_clean_file_has_no_defect(check) -> None:
    found = check(clean_coco(), vocabulary=VOCABULARY)
    assert counts(found) == {}
    assert found.format == 'COCO json'
    assert found.counted == dict(categories=5, images=40, annotations=80)


@pytest.mark.parametrize('row', range(len(PLANTS)), ids=lambda row: f'{row}-{PLANTS[row][0]}')
def test_a_planted_defect_is_the_only_one(row: int, check) -> None:
    kind, plant = PLANTS[row]
    content = clean_coco()
    plant(content, row)
    assert counts(check(content)) == {kind: 1}


def test_all_defects_of_one_file_are_found_in_one_run(check) -> None:
    content = clean_coco()
    for row, (_, plant) in enumerate(PLANTS):
        plant(content, row)
    assert counts(check(content)) == Counter(kind for kind, _ in PLANTS)


@pytest.mark.parametrize('seed', range(3))
def test_as_many_are_found_as_were_planted(seed: int, check) -> None:
    generator = np.random.default_rng(seed)
    content = clean_coco(pictures=200)
    in_place = [(kind, plant) for kind, plant in PLANTS if kind.startswith(('box-', 'mask-', 'empty-'))]
    chosen = [in_place[n] for n in generator.integers(0, len(in_place), 100)]
    for row, (_, plant) in zip(generator.permutation(200)[:100], chosen, strict=True):
        plant(content, int(row))
    assert counts(check(content)) == Counter(kind for kind, _ in chosen)


def test_names_are_compared_with_the_vocabulary(check) -> None:
    content = clean_coco()
    content['categories'][2]['name'] = 'garden gnom'
    content['categories'][4]['name'] = 'Cat '
    content['categories'][0]['name'] = 'toaster'
    found = check(content, vocabulary=VOCABULARY)
    assert counts(found) == {'name-not-in-vocabulary': 3, 'word-not-in-file': 1}
    told = places(found, 'name-not-in-vocabulary')
    assert "categories[2]: 'garden gnom' is no word, the closest word is 'garden gnome'" in told
    assert "'Cat ' is no word, the closest word is 'cat'" in told
    assert "'toaster' is no word, no word is close" in told
    assert "'wombat'" in places(found, 'word-not-in-file')

    smaller = Vocabulary.from_words(WORDS[:3])
    assert counts(check(clean_coco(), vocabulary=smaller)) == {'name-not-in-vocabulary': 2}
    assert counts(check(clean_coco(), vocabulary=smaller, other_categories='drop')) == {}


def test_places_name_the_record_and_the_picture(check) -> None:
    content = clean_coco()
    content['annotations'][8]['bbox'] = [55, 5, 20, 20]
    found = check(content)
    assert places(found, 'box-outside-picture') == (
        'annotations[8] (4.png): the box is [55, 5, 20, 20], the picture 60 x 40'
    )


def test_boxes_alone_need_no_masks_and_slack_is_obeyed(check) -> None:
    content = clean_coco()
    for annotation in content['annotations']:
        annotation['segmentation'] = []
    content['annotations'][0]['bbox'] = [-1.5, 0, 20, 20]
    assert counts(check(content)) == {}
    assert counts(check(content, box_slack=1.0)) == {'box-outside-picture': 1}


def test_a_picture_may_have_several_captions(check) -> None:
    content = clean_coco(2)
    content['images'].append(dict(content['images'][0], id=7, caption='a cat'))
    content['images'].append(dict(content['images'][0], id=8, caption='a cat'))
    assert counts(check(content)) == {}
    content['images'][2]['width'] = str(WIDTH)  # as MDETR's files of Flickr30k have it
    assert counts(check(content)) == {}
    content['images'][0]['width'] = str(WIDTH)
    assert counts(check(content)) == {'picture-size-unusable': 1}


def test_lvis_lists_must_agree_with_the_annotations(check) -> None:
    content = clean_coco(4)
    for image in content['images']:
        image |= dict(neg_category_ids=[], not_exhaustive_category_ids=[])
        image['coco_url'] = f'http://images.cocodataset.org/val2017/{image.pop("file_name")}'
    content['images'][0] |= dict(neg_category_ids=[21], not_exhaustive_category_ids=[1])
    found = check(content)
    assert found.format == 'LVIS json'
    assert counts(found) == {}
    content['images'][0]['neg_category_ids'] = [1, 21, 77]
    content['images'][1]['not_exhaustive_category_ids'] = ['x', 11]
    content['images'][2] |= dict(neg_category_ids=[31], not_exhaustive_category_ids=[31])
    content['images'].append(dict(content['images'][3], id=5))
    assert counts(check(content)) == {
        'id-not-integer': 1,
        'unknown-category': 1,
        'negative-annotated': 1,
        'negative-not-exhaustive': 2,
        'duplicate-picture': 1,
    }


def test_files_of_ade20k_as_mmdet_writes_them(check, tmp_path: Path) -> None:
    place_ade20k_panoptic(tmp_path)
    place_ade20k_instance(tmp_path)
    folder = tmp_path / ADE_2016
    maps = CheckOptions(maps=folder / 'ade20k_panoptic_val')
    assert counts(check_annotations(folder / 'ade20k_panoptic_val.json', maps)) == {}
    instances = folder / 'ade20k_instance_val.json'
    assert counts(check_annotations(instances)) == {}
    content = json.loads(instances.read_text())
    content['annotations'][0]['image_id'] = 'ADE_val_00000077'
    assert places(check(content), 'unknown-image') == 'annotations[0]: image ADE_val_00000077 is not listed'


@pytest.mark.parametrize('seed', range(20))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    generator = np.random.default_rng(seed)
    pixels_HW = np.asfortranarray(generator.random((37, 211)) < generator.random() ** 4, dtype=np.uint8)
    text = mask_utils.encode(pixels_HW)['counts'].decode()
    runs = _read_counts(text)
    assert runs is not None
    again = mask_utils.frPyObjects(dict(size=[37, 211], counts=runs), 37, 211)
    assert (mask_utils.decode(again) == pixels_HW).all()


def test_files_that_are_no_annotations_are_user_errors(check, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r'gone\.json'):
        check_annotations(tmp_path / 'gone.json')
    with pytest.raises(DataError, match='is not json'):
        check('{')
    with pytest.raises(DataError, match='is not json'):
        check('[' * 100_000)
    with pytest.raises(DataError, match='is not json'):
        check('9' * 10_000)
    with pytest.raises(DataError, match='no known format'):
        check(dict(boxes=[]))
    with pytest.raises(DataError, match='no known format'):
        check([])
    with pytest.raises(MissingFileError, match='--pictures'):
        check(clean_coco(2), pictures=tmp_path / 'gone')


def test_parts_of_the_wrong_type_are_named(check) -> None:
    found = check(dict(images={}, annotations=None, categories=[1]))
    assert counts(found) == {'no-record': 3}


def test_a_word_list(check) -> None:
    assert counts(check(dict(words=list(WORDS), base=['cat']), vocabulary=VOCABULARY)) == {}
    found = check(dict(words=['cat', 'Cat', '', 5], base=['horse'], synonyms=[[]]))
    assert counts(found) == {'missing-field': 1, 'name-not-text': 2, 'duplicate-name': 1, 'word-not-in-file': 1}


@pytest.mark.parametrize('seed', range(60))
def test_junk_anywhere_is_a_defect_and_no_crash(seed: int, check) -> None:
    generator = np.random.default_rng(seed)
    content = clean_coco(4)
    content['images'][0] |= dict(neg_category_ids=[21], not_exhaustive_category_ids=[1])
    if seed % 2:
        segments = [dict(id=4, category_id=1, bbox=[1, 1, 5, 5])]
        content['annotations'][0] |= dict(file_name='0.png', segments_info=segments)
    for _ in range(6):
        put_junk(content[('images', 'annotations', 'categories')[generator.integers(3)]], generator)
    assert len(check(content, vocabulary=VOCABULARY)) > 0
