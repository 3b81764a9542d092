"""Proposals that the detector does not make itself, and their objectness in the scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detection_parts import BOXES, HEIGHT, MEAN, STD, WIDTH, batch, model_config, picture, sample, vocabulary
from detection_parts import build as build_detector
from mmengine.registry import DefaultScope
from torch import nn

from vlm_dense.errors import CheckpointError, ConfigError, DataError, MissingFileError
from vlm_dense.models.heads.roi.objectness import with_objectness
from vlm_dense.models.proposals import OfflineProposals, RandomProposals, StoredProposals, TruthProposals

PICTURES = torch.stack([picture(0).flip(0), picture(1).flip(0)])
NETWORK = model_config()


def network_config() -> dict:
    parts = {name: NETWORK[name] for name in ('data_preprocessor', 'backbone', 'neck', 'rpn_head', 'test_cfg')}
    return dict(parts, type='mmdet.RPN', train_cfg=None)


def offline(**settings: object) -> OfflineProposals:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return OfflineProposals(**settings)


def with_proposals(source: dict, **head: object) -> nn.Module:
    config = model_config(with_mask=False, branches={}, distill='none')
    config['roi_head'].update(head)
    return build_detector(dict(config, rpn_head=None, proposals=source))


def test_objectness_in_numpy() -> None:
    scores = np.array([[0.2, 0.7], [0.9, 0.0], [0.5, 0.1]])
    objectness = np.array([0.9, 0.25, 1 / (1 + np.exp(-2.0))])
    logit = np.maximum(np.log(objectness / (1 - objectness)), 0)
    expected = dict(
        ignore=scores,
        product=scores * objectness[:, None],
        geometric_mean=np.sqrt(scores * objectness[:, None]),
        geometric_mean_logit=np.sqrt(scores * logit[:, None]),
    )
    for how, value in expected.items():
        given = torch.from_numpy(scores), torch.from_numpy(objectness)
        np.testing.assert_allclose(with_objectness(*given, how).numpy(), value, rtol=1e-12)
        parts = [(0, given[0][:, :1]), (1, given[0][:, 1:])]
        joined = torch.cat([part for _, part in with_objectness(parts, given[1], how)], dim=1)
        np.testing.assert_allclose(joined.numpy(), value, rtol=1e-12)


def test_objectness_of_one_has_a_score() -> None:
    assert with_objectness(torch.ones(1, 1), torch.ones(1), 'geometric_mean_logit').isfinite().all()


@pytest.mark.parametrize('scores_at_once', [2**22, 1])
def test_objectness_reaches_the_detections(scores_at_once: int) -> None:
    words = vocabulary()
    torch.manual_seed(0)
    plain = with_proposals(dict(type='vlm_dense.TruthProposals')).eval()
    plain.roi_head.test_cfg.scores_at_once = scores_at_once
    found = plain.test_step(batch(words, 1))[0].pred_instances
    plain.roi_head.objectness = 'product'
    plain.proposals.forward = lambda *given: [
        type(one)(bboxes=one.bboxes, scores=one.scores * 0.5) for one in TruthProposals.forward(plain.proposals, *given)
    ]
    halved = plain.test_step(batch(words, 1))[0].pred_instances
    torch.testing.assert_close(halved.scores, found.scores / 2)


def test_an_offline_network_proposes_as_it_does_alone() -> None:
    source = offline(model=network_config())
    found = source(PICTURES, [sample(None), sample(None)])
    with DefaultScope.overwrite_default_scope('mmdet'):
        alone = source.network.test_step(
            dict(inputs=[picture(0), picture(1)], data_samples=[sample(None), sample(None)])
        )
    for ours, theirs in zip(found, alone, strict=True):
        torch.testing.assert_close(ours.bboxes, theirs.pred_instances.bboxes, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(ours.scores, theirs.pred_instances.scores)
    assert list(source.parameters()) == []
    assert source.state_dict() == {}
    assert not source.train().network.training


def test_an_offline_network_from_the_file_of_a_whole_detector(tmp_path: Path) -> None:
    detector = build_detector(NETWORK)
    torch.save(dict(state_dict=detector.state_dict()), tmp_path / 'whole.pth')
    source = offline(model=network_config(), checkpoint=tmp_path / 'whole.pth')
    assert torch.equal(source.network.bbox_head.rpn_cls.weight, detector.rpn_head.rpn_cls.weight)
    assert torch.equal(source.network.backbone.conv1.weight, detector.backbone.conv1.weight)
    part = {name: w for name, w in detector.state_dict().items() if not name.startswith('neck')}
    torch.save(dict(state_dict=part), tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match=r'lacks 16 weights of the proposal network \(neck'):
        offline(model=network_config(), checkpoint=tmp_path / 'part.pth')


def test_detector_trains_on_offline_proposals() -> None:
    detector = with_proposals(dict(type='vlm_dense.OfflineProposals', model=network_config()))
    losses = detector(**detector.data_preprocessor(batch(vocabulary()), True), mode='loss')
    assert {name for name in losses if 'loss' in name} == {'loss_cls', 'loss_bbox'}
    assert [name for name in detector.state_dict() if 'rpn' in name or 'proposals' in name] == []


def test_annotated_boxes_stand_in_for_proposals() -> None:
    (found,) = TruthProposals()(PICTURES[:1], [sample(None)])
    assert torch.equal(found.bboxes, BOXES)
    assert found.scores.tolist() == [1.0, 1.0]
    bare = sample(None)
    del bare.gt_instances
    with pytest.raises(ConfigError, match='has no annotated boxes'):
        TruthProposals()(PICTURES[:1], [bare])


def test_random_boxes_lie_in_their_picture() -> None:
    small = sample(None)
    small.set_metainfo(dict(img_shape=(40, 60)))
    torch.manual_seed(0)
    found, inside = RandomProposals(500, 0.2, 0.5)(PICTURES, [sample(None), small])
    for boxes, (height, width) in ((found.bboxes, (HEIGHT, WIDTH)), (inside.bboxes, (40, 60))):
        assert boxes.shape == (500, 4)
        sides = (boxes[:, 2:] - boxes[:, :2]) / torch.tensor([width, height])
        assert sides.min() >= 0.2 - 1e-6
        assert sides.max() <= 0.5 + 1e-6
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= torch.tensor([width, height]) + 1e-4).all()


def test_random_boxes_stay_when_testing() -> None:
    source = RandomProposals(5)
    assert not torch.equal(source(PICTURES, [sample(None)])[0].bboxes, source(PICTURES, [sample(None)])[0].bboxes)
    source.eval()
    assert torch.equal(source(PICTURES, [sample(None)])[0].bboxes, source(PICTURES, [sample(None)])[0].bboxes)


def test_stored_boxes_follow_the_picture(tmp_path: Path) -> None:
    file = tmp_path / 'boxes.json'
    file.write_text(json.dumps({'a/1.jpg': [[0, 0, 10, 20, 0.3], [5, 5, 50, 40, 0.9]], '2.jpg': []}))
    one, other = sample(None), sample(None)
    half = (HEIGHT // 2, WIDTH // 2)
    one.set_metainfo(dict(img_path='x/a/1.jpg', ori_shape=half, scale_factor=(2.0, 2.0), flip=True))
    one.set_metainfo(dict(flip_direction='horizontal'))
    other.set_metainfo(dict(img_path='x/2.jpg'))
    found, none = StoredProposals(str(file), count=1)(PICTURES, [one, other])
    assert found.bboxes.tolist() == [[WIDTH - 100, 10, WIDTH - 10, 80]]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert none.bboxes.shape == (0, 4)
    other.set_metainfo(dict(img_path='3.jpg'))
    with pytest.raises(DataError, match=r"has none for '3.jpg'"):
        StoredProposals(str(file))(PICTURES, [one, other])
    with pytest.raises(MissingFileError, match='no file of proposals'):
        StoredProposals(str(tmp_path / 'other.json'))


def test_proposals_come_from_one_place() -> None:
    config = model_config(branches={}, distill='none')
    for wrong in (dict(config, rpn_head=None), dict(config, proposals=dict(type='vlm_dense.TruthProposals'))):
        with pytest.raises(ConfigError, match='give one of them'):
            build_detector(wrong)
    with pytest.raises(ConfigError, match="objectness='sum'; choose one of 'ignore'"):
        with_proposals(dict(type='vlm_dense.TruthProposals'), objectness='sum')
    with pytest.raises(ConfigError, match='one of model'):
        OfflineProposals()


def test_normalisation_is_the_networks_own() -> None:
    source = offline(model=network_config())
    seen = []
    source.network.extract_feat = lambda images: (
        seen.append(images) or source.network.neck(source.network.backbone(images))
    )
    source(PICTURES, [sample(None), sample(None)])
    expected = (PICTURES - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(seen[0], expected)
