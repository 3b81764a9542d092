"""Predictions in a file speak the caller's words."""

import json

import numpy as np
import pytest
import torch
from evaluation_support import coco_scene, run_processes
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from vlm_dense.errors import DataError, MissingFileError, StorageError
from vlm_dense.evaluation import WritePredictions
from vlm_dense.text.vocabulary import Vocabulary

WORDS = ('ghost', *(f'thing {row}' for row in range(6)))


def write(path, samples, words=WORDS, size=None, **kwargs):
    metric = WritePredictions(str(path), **kwargs)
    vocabulary = Vocabulary.from_words(words)
    metric.process({}, [dict(sample, vocabulary=vocabulary) for sample in samples])
    assert metric.evaluate(len(samples) if size is None else size) == {}


def test_boxes_load_as_coco_results(tmp_path, write_json):
    truth, samples = coco_scene(1)
    ann_file = write_json(truth)
    for sample in samples[2:4]:
        sample['pred_instances']['labels'] += 1
    write(tmp_path / 'sub' / 'out.json', samples[2:4], ann_file=ann_file)
    entries = json.loads((tmp_path / 'sub' / 'out.json').read_text())
    first = samples[2]['pred_instances']
    assert entries[0]['word'] == WORDS[first['labels'][0]]
    assert (entries[0]['image_id'], entries[0]['file_name']) == (2, '2.jpg')
    x1, y1, x2, y2 = first['bboxes'][0].tolist()
    assert entries[0]['bbox'] == [x1, y1, x2 - x1, y2 - y1]
    assert len(COCO(ann_file).loadRes(entries).anns) == len(entries) > 0


def test_a_word_that_is_no_category_has_no_id(tmp_path, write_json):
    truth, samples = coco_scene(1)
    samples[2]['pred_instances']['labels'] *= 0
    write(tmp_path / 'out.json', samples[2:3], ann_file=write_json(truth))
    entries = json.loads((tmp_path / 'out.json').read_text())
    assert {entry['word'] for entry in entries} == {'ghost'}
    assert all('category_id' not in entry for entry in entries)


def test_regions_of_a_label_map(tmp_path):
    labels_HW = torch.tensor([[0, 0, 2], [1, 1, 0]])
    write(
        tmp_path / 'out.json',
        [dict(img_path='/a/b.jpg', pred_sem_seg=dict(data=labels_HW[None]))],
        words=('sky', 'tree'),
    )
    entries = json.loads((tmp_path / 'out.json').read_text())
    assert [(entry['file_name'], entry['word']) for entry in entries] == [('b.jpg', 'sky'), ('b.jpg', 'tree')]
    for label, entry in enumerate(entries):
        assert np.array_equal(coco_mask.decode(entry['segmentation']), labels_HW.numpy() == label)


def _shard(rank, world_size, path, samples):
    write(path, samples[rank::world_size], size=len(samples))


def test_two_processes_write_what_one_writes(tmp_path):
    _, samples = coco_scene(1)
    write(tmp_path / 'one.json', samples)
    run_processes(_shard, str(tmp_path / 'two.json'), samples)
    assert (tmp_path / 'two.json').read_bytes() == (tmp_path / 'one.json').read_bytes()


def test_clear_errors(tmp_path):
    _, samples = coco_scene(1)
    with pytest.raises(MissingFileError, match=r'none\.json do not exist'):
        WritePredictions(str(tmp_path / 'out.json'), ann_file=str(tmp_path / 'none.json'))
    with pytest.raises(DataError, match='no predictions'):
        write(tmp_path / 'out.json', [dict(img_id=0)])
    (tmp_path / 'file').write_text('')
    with pytest.raises(StorageError, match='cannot write'):
        write(tmp_path / 'file' / 'out.json', samples)
