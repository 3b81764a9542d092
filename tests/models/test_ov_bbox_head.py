"""The box head: targets, losses, scores and suppression against independent calculations."""

import numpy as np
import pytest
import torch
from detection_parts import EMBED_DIM, RandomWords, box_head, build, vocabulary
from mmdet.models.layers import multiclass_nms
from mmengine.config import ConfigDict
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models import WordRows
from vlm_dense.models.heads import RegionTrunk
from vlm_dense.models.heads.bbox.ov_bbox_head import BACKGROUND_LABEL
from vlm_dense.models.heads.bbox.suppression import best_detections

TRAIN = ConfigDict(pos_weight=-1)
TEST = ConfigDict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=50)


def rows(words: str = 'ant bee cat', base: str = 'ant bee') -> WordRows:
    asked = vocabulary(words, base)
    return WordRows(RandomWords()(asked), torch.tensor(asked.is_base))


class Sampled:
    """What mmdet's sampler gives: regions 0 and 1 on objects, regions 2 to 4 background."""

    pos_priors = torch.tensor([[0.0, 0.0, 20.0, 20.0], [30.0, 30.0, 60.0, 50.0]])
    neg_priors = torch.tensor([[5.0, 5.0, 9.0, 9.0], [70.0, 70.0, 90.0, 95.0], [1.0, 60.0, 20.0, 90.0]])
    pos_gt_bboxes = torch.tensor([[1.0, 2.0, 22.0, 19.0], [28.0, 31.0, 63.0, 52.0]])
    pos_gt_labels = torch.tensor([1, 0])


def rois() -> torch.Tensor:
    boxes_N4 = torch.cat([Sampled.pos_priors, Sampled.neg_priors])
    return torch.cat([torch.zeros(5, 1), boxes_N4], dim=1)


def test_losses_equal_softmax_cross_entropy_and_smooth_l1() -> None:
    head = build(box_head(distill='none')).train()
    outputs = head(torch.randn(5, 16, 7, 7))
    words = rows()
    losses = head.losses(outputs, rois(), words, [Sampled], TRAIN)
    text_ND, delta_N4 = outputs.text_ND.detach(), outputs.delta_N4.detach()
    cosine_NK = (
        functional.normalize(text_ND, dim=1)
        @ torch.cat([words.text_KD, functional.normalize(head.classifier.extra.learned_ED.detach()[0], dim=0)[None]]).T
    )
    probability_NK = (cosine_NK / 0.1).softmax(1).numpy()
    picked = probability_NK[np.arange(5), [1, 0, 3, 3, 3]]
    np.testing.assert_allclose(losses['loss_cls'].item(), -np.log(picked).mean(), rtol=1e-5)
    targets_N4 = head.bbox_coder.encode(Sampled.pos_priors, Sampled.pos_gt_bboxes).numpy()
    gap = np.abs(delta_N4[:2].numpy() - targets_N4)
    smooth = np.where(gap < 1, gap**2 / 2, gap - 0.5)
    np.testing.assert_allclose(losses['loss_bbox'].item(), smooth.sum() / 5, rtol=1e-5)


def test_background_weight_scales_background_regions_in_a_mean_over_all() -> None:
    torch.manual_seed(0)
    heads = [build(box_head(distill='none', background_weight=weight)).train() for weight in (1.0, 0.25, 0.0)]
    for head in heads[1:]:
        head.load_state_dict(heads[0].state_dict())
    features_NCrr = torch.randn(5, 16, 7, 7)
    found = [head.losses(head(features_NCrr), rois(), rows(), [Sampled], TRAIN) for head in heads]
    outputs = heads[0](features_NCrr)
    probability_NK = heads[0].classifier(outputs.text_ND, rows().text_KD).softmax(1).detach().numpy()
    surprise = -np.log(probability_NK[np.arange(5), [1, 0, 3, 3, 3]])
    for losses, weight in zip(found, (1.0, 0.25, 0.0), strict=True):
        expected = (surprise[:2].sum() + weight * surprise[2:].sum()) / 5
        np.testing.assert_allclose(losses['loss_cls'].item(), expected, rtol=1e-5)
        assert losses['loss_bbox'] == found[0]['loss_bbox']


def test_background_is_a_number_no_word_can_have() -> None:
    head = build(box_head(distill='none'))
    labels_N, *_ = head.get_targets([Sampled], TRAIN)
    assert labels_N.tolist() == [1, 0] + [BACKGROUND_LABEL] * 3
    assert head.num_classes == BACKGROUND_LABEL


def test_the_number_of_words_changes_between_calls() -> None:
    head = build(box_head())
    outputs = head(torch.randn(5, 16, 7, 7))
    for words in ('ant bee', 'ant bee cat', 'ant bee cat dog elk fox gnu'):
        losses = head.losses(outputs, rois(), rows(words), [Sampled], TRAIN)
        assert losses['loss_cls'].isfinite()
        assert head.scores(outputs.text_ND, outputs.image_ND, rows(words)).shape == (5, len(words.split()))
    assert head.num_classes == BACKGROUND_LABEL


def test_separate_scores_equal_numpy() -> None:
    head = build(box_head(base_power=1 / 3, novel_power=2 / 3)).eval()
    text_ND, image_ND = torch.randn(2, 6, EMBED_DIM)
    words = rows()
    background = functional.normalize(head.classifier.extra.learned_ED.detach()[0], dim=0)
    columns = torch.cat([words.text_KD, background[None]])
    p_NK = (functional.normalize(text_ND, dim=1) @ columns.T / 0.1).softmax(1)[:, :3].numpy()
    # No background among the words of the distilled head.
    q_NK = (functional.normalize(image_ND, dim=1) @ words.text_KD.T / 0.1).softmax(1).numpy()
    third_NK = np.where(words.is_base_K.numpy(), p_NK, q_NK)
    scores_NK = head.scores(text_ND, image_ND, words).detach().numpy()
    np.testing.assert_allclose(scores_NK, np.cbrt(p_NK * q_NK * third_NK), rtol=1e-4)


@pytest.mark.parametrize('distill', ['none', 'shared'])
def test_other_forms_score_with_the_text_head_alone(distill: str) -> None:
    head = build(box_head(distill=distill)).eval()
    outputs = head(torch.randn(4, 16, 7, 7))
    assert outputs.image_ND is None
    expected_NK = head.classifier(outputs.text_ND, *rows()).softmax(1)[:, :-1]
    torch.testing.assert_close(head.scores(outputs.text_ND, None, rows()), expected_NK)


def test_shared_has_one_embedding_and_separate_has_two() -> None:
    features_NCrr = torch.randn(4, 16, 7, 7)
    shared, separate = (build(box_head(distill=kind)).eval() for kind in ('shared', 'separate'))
    assert torch.equal(shared.embed_image(features_NCrr), shared.embed_text(features_NCrr))
    assert not torch.allclose(separate.embed_image(features_NCrr), separate.embed_text(features_NCrr))


def test_suppression_is_per_word_and_independent_of_their_order() -> None:
    head = build(box_head())
    boxes_N4 = torch.rand(40, 4) * 60
    boxes_N4[:, 2:] += boxes_N4[:, :2] + 5
    rois_N5 = torch.cat([torch.zeros(40, 1), boxes_N4], dim=1)
    scores_NK = torch.rand(40, 30)
    order_K = torch.randperm(30)
    metainfo = dict(img_shape=(128, 128), scale_factor=(1.0, 1.0))
    plain = head.decode(rois_N5, None, scores_NK, metainfo, TEST, False)
    permuted = head.decode(rois_N5, None, scores_NK[:, order_K], metainfo, TEST, False)
    assert len(plain) == 50
    assert torch.equal(plain.labels, order_K[permuted.labels])
    assert torch.equal(plain.bboxes, permuted.bboxes)
    assert torch.equal(plain.scores, permuted.scores)


@pytest.mark.parametrize('wanted', [-1, 1, 20, 500])
@pytest.mark.parametrize('threshold', [0.0, 0.6, 0.999, 1.0])
def test_best_detections_equal_mmdets_multiclass_nms(wanted: int, threshold: float) -> None:
    boxes_N4 = torch.rand(60, 4) * 40
    boxes_N4[:, 2:] += boxes_N4[:, :2] + 5
    scores_NK = torch.rand(60, 12)
    padded_NK = torch.cat([scores_NK, torch.zeros(60, 1)], dim=1)
    expected_M5, labels_M = multiclass_nms(boxes_N4, padded_NK, threshold, TEST.nms, wanted)
    boxes, scores, labels = best_detections(boxes_N4, scores_NK, threshold, TEST.nms, wanted)
    torch.testing.assert_close(torch.cat([boxes, scores[:, None]], dim=1), expected_M5)
    assert torch.equal(labels, labels_M)


def test_boxes_return_to_the_original_picture() -> None:
    head = build(box_head())
    metainfo = dict(img_shape=(128, 128), scale_factor=(2.0, 4.0))
    rois_N5 = torch.tensor([[0.0, 10.0, 20.0, 30.0, 40.0]])
    found = head.decode(rois_N5, None, torch.tensor([[0.5, 0.0]]), metainfo, TEST, True)
    assert found.bboxes.tolist() == [[5.0, 5.0, 15.0, 10.0]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([0], [0.5])


def test_no_regions_and_no_positives() -> None:
    head = build(box_head())
    words = rows()
    outputs = head(torch.zeros(0, 16, 7, 7))
    scores_NK = head.scores(outputs.text_ND, outputs.image_ND, words)
    metainfo = dict(img_shape=(128, 128), scale_factor=(1.0, 1.0))
    assert len(head.decode(torch.zeros(0, 5), outputs.delta_N4, scores_NK, metainfo, TEST, True)) == 0

    class Empty(Sampled):
        pos_priors, pos_gt_bboxes, pos_gt_labels = (
            torch.zeros(0, 4),
            torch.zeros(0, 4),
            torch.zeros(0, dtype=torch.long),
        )

    outputs = head(torch.randn(3, 16, 7, 7))
    losses = head.losses(outputs, rois()[2:], words, [Empty], TRAIN)
    assert losses['loss_bbox'] == 0
    (losses['loss_cls'] + losses['loss_bbox']).backward()
    assert head.fc_reg.weight.grad.abs().sum() == 0


def test_trunk_norms_follow_every_layer() -> None:
    trunk = RegionTrunk(8, 3, num_convs=2, num_fcs=2, conv_channels=4, fc_channels=5, norm_cfg=dict(type='BN'))
    assert sum(isinstance(part, torch.nn.BatchNorm2d) for part in trunk.modules()) == 4
    features_ND = trunk(torch.randn(6, 8, 3, 3))
    assert features_ND.shape == (6, 5)
    assert (features_ND >= 0).all()


def test_trunk_without_layers_pools() -> None:
    features_NCrr = torch.randn(6, 8, 3, 3)
    torch.testing.assert_close(RegionTrunk(8, 3)(features_NCrr), features_NCrr.mean((2, 3)))
    torch.testing.assert_close(RegionTrunk(8, 3, pool='flatten')(features_NCrr), features_NCrr.flatten(1))


def test_identity_projection_starts_as_the_identity() -> None:
    head = build(box_head(embed_dim=16, trunk={}, projection=dict(type='vlm_dense.IdentityProjection')))
    head.init_weights()
    features_NCrr = torch.randn(4, 16, 7, 7)
    for embed in (head.embed_text, head.embed_image):
        torch.testing.assert_close(embed(features_NCrr), features_NCrr.mean((2, 3)))


@pytest.mark.parametrize(
    ('wrong', 'named'),
    [
        (dict(distill='both'), 'distill'),
        (dict(classifier=dict(type='vlm_dense.EmbeddingClassifier', background=None)), 'background'),
        (dict(trunk=dict(pool='max')), 'pool'),
        (dict(projection=dict(type='vlm_dense.IdentityProjection')), '32 features become 16'),
    ],
)
def test_wrong_settings_are_named(wrong: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build(box_head(**wrong))
