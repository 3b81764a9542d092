"""ODVG lines as training data: names, phrases, their places, and messages that name the line."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets import ODVGDataset
from mmengine.registry import DefaultScope
from PIL import Image
from torch.utils.data import DataLoader

from vlm_dense.datasets import GroundingDataset
from vlm_dense.datasets.json_lines import line_starts
from vlm_dense.errors import ConfigError, DataError, MissingFileError

WORDS = ('cat', 'Dog', 'car')
PLACE = dict(height=60, width=100)
CAPTION = 'a man, a dog and a man; the rider'
MAN, DOG, AGAIN, RIDER = [0, 5], [7, 12], [17, 22], [24, 33]
A, B, C = [1, 1, 20, 20], [30, 1, 50, 20], [60.5, 1, 80, 20]
PIPELINE = [dict(type='mmdet.LoadImageFromFile'), dict(type='mmdet.LoadAnnotations', with_bbox=True)]
PACK = dict(type='mmdet.PackDetInputs', meta_keys=('img_path',))


def detection(*boxes: list, name: str = 'a.png', **more: object) -> dict:
    instances = [dict(bbox=box, label=label, category=WORDS[label]) for label, box in enumerate(boxes)]
    return dict(filename=name, **PLACE, detection=dict(instances=instances, **more))


def grounding(*regions: tuple, caption: str = CAPTION) -> dict:
    found = [dict(bbox=box, phrase=caption[s[0][0] : s[0][1]], tokens_positive=s) for box, s in regions]
    return dict(filename='a.png', **PLACE, grounding=dict(caption=caption, regions=found))


@pytest.fixture
def load(tmp_path):
    Image.fromarray(np.zeros((60, 100, 3), np.uint8)).save(tmp_path / 'a.png')

    def build(*lines, text=None, **options):
        text = (
            '\n'.join(line if isinstance(line, str) else json.dumps(line) for line in lines) if text is None else text
        )
        (tmp_path / 'a.jsonl').write_bytes(text.encode())
        options = dict(vocabulary=list(WORDS)) | options
        return GroundingDataset(data_root=str(tmp_path), ann_file='a.jsonl', data_prefix=dict(img=''), **options)

    return build


def test_class_names_are_rows_of_the_vocabulary_and_absent_ones_too(load):
    data = load(detection(A, B, absent=['car']), vocabulary=['car', 'dog', 'cat'])
    entry = data.get_data_info(0)
    assert entry['vocabulary'].words == ('car', 'dog', 'cat')
    assert [(one['bbox'], one['bbox_label']) for one in entry['instances']] == [(A, 2), (B, 1)]
    assert (entry['absent'], entry['width'], entry['height']) == ((0,), 100, 60)
    assert 'prompt' not in entry


def test_a_label_map_names_the_numbers(load, tmp_path):
    (tmp_path / 'map.json').write_text(json.dumps({str(n): word for n, word in enumerate(WORDS)}))
    line = detection(A, B)
    del line['detection']['instances'][1]['category']
    data = load(line, vocabulary=None, label_map='map.json')
    assert data.vocabulary.words == WORDS
    assert [one['bbox_label'] for one in data.get_data_info(0)['instances']] == [0, 1]
    line['detection']['instances'][0]['category'] = 'cow'
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: label 0 has the name 'cow', not"):
        load(line, vocabulary=None, label_map='map.json').get_data_info(0)
    (tmp_path / 'map.json').write_text('{"1": "cat"}')
    with pytest.raises(DataError, match=r'map\.json does not name the numbers'):
        load(line, vocabulary=None, label_map='map.json')
    with pytest.raises(MissingFileError, match=r'no\.json does not exist; check data_root'):
        load(line, vocabulary=None, label_map='no.json')
    with pytest.raises(ConfigError, match='leave one out'):
        load(line, label_map='map.json')


def test_a_filter_is_not_passed_over(load):
    assert len(load(detection(), filter_cfg=dict(filter_empty_gt=False))) == 1
    with pytest.raises(ConfigError, match=r'filter_cfg\.filter_empty_gt would be passed over.*FilterAnnotations'):
        load(detection(), filter_cfg=dict(filter_empty_gt=True))


def test_equal_phrases_with_other_boxes_stay_apart(load):
    entry = load(grounding((A, [MAN]), (B, [DOG]), (C, [AGAIN]))).get_data_info(0)
    assert entry['vocabulary'].words == ('a man', 'a dog', 'a man (2)')
    assert all(entry['vocabulary'].is_base)
    assert entry['prompt'].text == entry['text'] == CAPTION
    assert entry['prompt'].spans == (((0, 5),), ((7, 12),), ((17, 22),))
    assert entry['prompt'].rows == (0, 1, 2)
    assert [one['bbox_label'] for one in entry['instances']] == [0, 1, 2]


def test_a_box_of_several_phrases_stands_once_with_all_places(load):
    """The places of every box are those that mmdet's reader gives it, joined over regions with the same box."""
    lines = [
        grounding((A, [MAN, AGAIN]), ([B, C], [DOG])),
        grounding((A, [MAN]), (B, [DOG]), (A, [RIDER]), (C, [MAN])),
    ]
    data = load(*lines)
    with DefaultScope.overwrite_default_scope('mmdet'):
        peer = ODVGDataset(data_root=data.data_root, ann_file='a.jsonl', data_prefix=dict(img=''), return_classes=True)
    for row in range(2):
        entry, theirs = data.get_data_info(row), peer.get_data_info(row)
        places: dict[tuple, set] = {}
        for one in theirs['instances']:
            spans = theirs['phrases'][one['bbox_label']]['tokens_positive']
            places.setdefault(tuple(one['bbox']), set()).update(map(tuple, spans))
        ours = {tuple(one['bbox']): set(entry['prompt'].spans[one['bbox_label']]) for one in entry['instances']}
        assert ours == places
        assert len(entry['instances']) == len(places)
    assert data.get_data_info(0)['vocabulary'].words == ('a man', 'a dog')
    assert data.get_data_info(1)['vocabulary'].words == ('a man', 'a man, the rider', 'a dog')


def test_without_places_a_phrase_is_where_it_stands_as_a_word(load):
    region = dict(bbox=A, phrase='Man')
    line = dict(filename='a.png', **PLACE, grounding=dict(caption='a manatee, a man', regions=[region]))
    assert load(line).get_data_info(0)['prompt'].spans == (((13, 16),),)
    line['grounding']['caption'] = 'manatees'
    assert load(line).get_data_info(0)['prompt'].spans == (((0, 3),),)


def test_phrases_in_pieces_as_mmdets_converters_write_them(load):
    line = grounding((A, [[0, 1], [2, 5]]), (B, [MAN, DOG]))
    line['grounding']['regions'][0]['phrase'] = ['a', 'man']
    line['grounding']['regions'][1]['phrase'] = ['a man', 'a dog']
    entry = load(line).get_data_info(0)
    assert entry['vocabulary'].words == ('a man', 'a man, a dog')
    assert entry['prompt'].spans == (((0, 1), (2, 5)), ((0, 5), (7, 12)))
    del line['grounding']['regions'][1]['tokens_positive']
    assert load(line).get_data_info(0)['prompt'].spans[1] == ((0, 5), (7, 12), (17, 22))
    line['grounding']['regions'][1]['phrase'] = ['a man', 5]
    with pytest.raises(DataError, match=r"line 1: regions\[1\]: 'phrase' is 5"):
        load(line).get_data_info(0)


def test_boxes_that_mmdet_drops_are_ignored_regions(load):
    entry = load(detection([5, 5, 5.5, 20], [120, 5, 140, 20], A)).get_data_info(0)
    assert [one['ignore_flag'] for one in entry['instances']] == [1, 1, 0]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"filename"', r'line 2: is not json .*check data_root'),
        ('[1, 2, 3]', 'line 2: holds list, not an object'),
        (dict(filename='a.png', **PLACE), "line 2: has neither 'detection' nor 'grounding'; correct the file"),
        (grounding((A, [[0, 99]])), r'line 2: regions\[0\]: .*no part of 33 letters; correct'),
        (grounding(), 'line 2: the caption has no region'),
        (detection([1, 2, 3]), r'line 2: instances\[0\]: the box is \[1, 2, 3\]'),
        (detection(A, absent=[5]), "line 2: 'absent' is no list of names"),
        (detection(A, absent=['cow']), "line 2: 'cow' is not among the 3 words"),
        (grounding((A, [[0, 5]]), caption='a \x07en x'), 'line 2: .*control character'),
    ],
)
def test_a_wrong_line_is_named(load, line, message):
    data = load(detection(A), line, detection(B))
    assert data.get_data_info(2)['instances'][0]['bbox'] == B
    with pytest.raises(DataError, match=message):
        data.get_data_info(1)


def test_names_without_a_vocabulary_and_missing_files(load, tmp_path):
    with pytest.raises(DataError, match=r'line 1: has class names, of which .* give it a vocabulary'):
        load(detection(A), vocabulary=None).get_data_info(0)
    data = load(detection(A, name='gone.png'), pipeline=PIPELINE)
    with pytest.raises(MissingFileError, match=r'gone\.png does not exist; check'):
        data[0]
    (tmp_path / 'a.jsonl').unlink()
    with pytest.raises(MissingFileError, match=r'a\.jsonl does not exist; check'):
        data[0]
    with pytest.raises(DataError, match=r'a\.jsonl is empty'):
        load(text='\n\r\n')


def test_blank_lines_and_missing_last_newline(load):
    one, two = json.dumps(detection(A)), json.dumps(detection(B))
    for text in (f'{one}\n{two}', f'\n{one}\r\n\r\n\n{two}\n\n'):
        data = load(text=text)
        assert [data.get_data_info(row)['instances'][0]['bbox'] for row in (0, 1, -1)] == [A, B, B]
        assert len(data) == 2
        assert data.get_data_info(-1)['sample_idx'] == 1
    assert len(load(text=f'{one}\n{two}', indices=1)) == 1


def test_lines_are_found_across_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr('vlm_dense.datasets.json_lines.CHUNK', 7)
    text = b'{"a": 1}\n{"b": 22}\n{"c": 333}'
    (tmp_path / 'x').write_bytes(text)
    assert line_starts(str(tmp_path / 'x'), '').tolist() == [0, 9, 19]


def test_another_process_reads_it_and_samples_keep_the_words(load):
    data = load(detection(A), grounding((A, [MAN])), pipeline=[*PIPELINE, PACK])
    assert len(pickle.dumps(data.data_list)) < 300
    loader = DataLoader(pickle.loads(pickle.dumps(data)), 1, num_workers=1, collate_fn=list)
    names, caption = (batch[0]['data_samples'] for batch in loader)
    assert names.vocabulary.words == WORDS
    assert caption.prompt.text == CAPTION
    assert caption.vocabulary.words == ('a man',)
    assert torch.equal(caption.gt_instances.bboxes.tensor, torch.tensor([A]).float())


def test_the_built_in_captions(picture_set: Path):
    data = GroundingDataset(data_root=str(picture_set), ann_file='train_odvg.jsonl', data_prefix=dict(img=''))
    coco = json.loads((picture_set / 'train.json').read_text(encoding='utf-8'))
    assert len(data) == len(coco['images'])
    assert sum(len(data.get_data_info(row)['instances']) for row in range(len(data))) == len(coco['annotations'])
