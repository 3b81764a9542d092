"""Predictions on disk: exact, counted once, and safe from kills."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from pycocotools import mask as coco_mask

from vlm_dense.checkpoints.packages import file_sha256
from vlm_dense.engine.protocol_runs.identity import hash_settings, hash_weights, text_of
from vlm_dense.engine.protocol_runs.records import record_of, sample_of
from vlm_dense.engine.protocol_runs.store import PredictionStore
from vlm_dense.errors import ConfigError, DataError, MissingFileError

ASKED = dict(protocol='coco', weights='a')
TOLD = dict(words=dict(words=['cat'], base=[]))


@pytest.fixture
def store(tmp_path: Path) -> PredictionStore:
    store = PredictionStore(tmp_path / 'predictions')
    store.begin(ASKED, TOLD)
    return store


def test_pictures_are_counted_once_whoever_wrote_them(store: PredictionStore) -> None:
    other = PredictionStore(store.folder)
    store.add(1, dict(a=1), seconds=0.5)
    other.add(1, dict(a=2), seconds=0.5)
    other.add('1', dict(a='ü\t\n'), seconds=0.25)
    assert store.finished() == {1, '1'}
    assert store.seconds() == 0.75
    assert len(store) == 2
    read = dict(store.read())
    assert read['1'] == dict(a='ü\t\n')
    assert read[1] in (dict(a=1), dict(a=2))


def test_a_line_without_its_end_does_not_count(store: PredictionStore) -> None:
    store.add(1, dict(a=1), seconds=0.0)
    store.add(2, dict(a=2), seconds=0.0)
    store.close()
    (path,) = store.folder.glob('*.jsonl')
    path.write_bytes(path.read_bytes()[:-3])
    again = PredictionStore(store.folder)
    assert again.finished() == {1}
    again.add(2, dict(a=3), seconds=0.0)
    assert again.finished() == {1, 2}
    assert dict(again.read()) == {1: dict(a=1), 2: dict(a=3)}


def test_another_request_is_refused(store: PredictionStore) -> None:
    PredictionStore(store.folder).begin(ASKED, dict(TOLD, recipe='renamed.py'))
    with pytest.raises(ConfigError, match=r'another run \(different: weights\); give another folder as --out'):
        PredictionStore(store.folder).begin(dict(ASKED, weights='b'), TOLD)


def test_a_folder_without_predictions_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match='holds no predictions'):
        PredictionStore(tmp_path).request()


def test_a_damaged_request_is_named(store: PredictionStore) -> None:
    (store.folder / 'request.json').write_text('{')
    with pytest.raises(DataError, match='is damaged'):
        store.request()


@pytest.mark.parametrize('highest', [255, 256, 65535, 65536, 2**24 - 1])
def test_maps_come_back(store: PredictionStore, highest: int) -> None:
    map_HW = np.random.default_rng(0).integers(0, highest + 1, (5, 7))
    map_HW[0, 0] = highest
    assert np.array_equal(store.read_map(store.write_map(map_HW)), map_HW)


def test_detections_come_back_to_the_last_bit(store: PredictionStore) -> None:
    masks_NHW = torch.rand(6, 9, 11) > 0.5
    instances = InstanceData(
        bboxes=torch.randn(6, 4) * 300, scores=torch.rand(6), labels=torch.arange(6), masks=masks_NHW
    )
    sample = DetDataSample(pred_instances=instances, metainfo=dict(ori_shape=(9, 11), img_id=3))
    record = json.loads(json.dumps(record_of(sample, store)))
    found = sample_of(record, store)
    for name in ('bboxes', 'scores', 'labels'):
        assert torch.equal(found['pred_instances'][name], instances[name])
    assert all(
        np.array_equal(coco_mask.decode(rle), mask)
        for rle, mask in zip(found['pred_instances']['masks'], masks_NHW.numpy(), strict=True)
    )
    assert found['ori_shape'] == (9, 11)


def test_no_detection_comes_back(store: PredictionStore) -> None:
    instances = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long))
    sample = DetDataSample(pred_instances=instances, metainfo=dict(ori_shape=(9, 11)))
    found = sample_of(json.loads(json.dumps(record_of(sample, store))), store)
    assert found['pred_instances']['bboxes'].shape == (0, 4)


def test_label_maps_come_back(store: PredictionStore) -> None:
    labels_1HW = torch.randint(0, 847, (1, 6, 8))
    sample = SegDataSample(pred_sem_seg=PixelData(data=labels_1HW), metainfo=dict(ori_shape=(6, 8)))
    found = sample_of(record_of(sample, store), store)
    assert np.array_equal(found['pred_sem_seg']['data'], labels_1HW.numpy())


def test_panoptic_segments_come_back(store: PredictionStore) -> None:
    segments_1HW = torch.randint(0, 150000, (1, 6, 8))
    sample = DetDataSample(pred_panoptic_seg=PixelData(sem_seg=segments_1HW), metainfo=dict(ori_shape=(6, 8)))
    found = sample_of(record_of(sample, store), store)
    assert torch.equal(found['pred_panoptic_seg']['sem_seg'], segments_1HW)


def test_a_sample_without_predictions_is_an_error(store: PredictionStore) -> None:
    with pytest.raises(DataError, match='predicts nothing'):
        record_of(SegDataSample(metainfo=dict(ori_shape=(6, 8), img_path='a.jpg')), store)


def test_hashes_follow_what_counts(tmp_path: Path) -> None:
    assert hash_settings(dict(a=1, b=(2,))) == hash_settings(dict(b=[2], a=1)) != hash_settings(dict(a=1, b=(3,)))
    (tmp_path / 'a').write_bytes(b'abc')
    assert file_sha256(tmp_path / 'a').startswith('ba7816bf')  # SHA-256's own example (FIPS 180-2)
    layer = torch.nn.BatchNorm2d(3).to(torch.bfloat16)
    before = hash_weights(layer)
    assert hash_weights(layer) == before
    layer.running_mean[0] = 1
    assert hash_weights(layer) != before


def test_the_weights_behind_the_words_have_a_name() -> None:
    layer = torch.nn.Linear(2, 2)
    plain = SimpleNamespace(encoder=SimpleNamespace(fingerprint='tower'))
    assert text_of(plain) == text_of(SimpleNamespace(bank=plain)) == 'tower'
    assert text_of(SimpleNamespace(prompts=layer)) == hash_weights(layer)
    assert text_of(SimpleNamespace(prompts=['a photo of {}'])) is None
