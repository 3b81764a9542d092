"""Softmax cross entropy with a focal factor against the paper's formula in numpy, and inside the box head."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detection_parts import RandomWords, box_head, build, vocabulary
from mmengine.config import ConfigDict

from vlm_dense.errors import ConfigError
from vlm_dense.models import WordRows
from vlm_dense.registry import MODELS


def make_loss(**settings):
    return MODELS.build({'type': 'vlm_dense.FocalSoftmaxLoss', **settings})


def by_formula(logits_NK, label_N, weight_N, gamma):
    exponent_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    p_N = (exponent_NK / exponent_NK.sum(axis=1, keepdims=True))[np.arange(len(label_N)), label_N]
    return -weight_N * (1 - p_N) ** gamma * np.log(p_N)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_equals_the_formula(gamma):
    random = np.random.default_rng(0)
    logits_NK, label_N = random.normal(size=(9, 5)) * 3, random.integers(0, 5, 9)
    weight_N = np.where(label_N == 4, 0.2, 1.0)
    expected_N = by_formula(logits_NK, label_N, weight_N, gamma)
    inputs = torch.tensor(logits_NK), torch.tensor(label_N), torch.tensor(weight_N, dtype=torch.float32)
    loss = make_loss(gamma=gamma, loss_weight=3.0)
    np.testing.assert_allclose(loss(*inputs, avg_factor=7), 3 * expected_N.sum() / 7, rtol=1e-5)
    np.testing.assert_allclose(loss(*inputs), 3 * expected_N.mean(), rtol=1e-5)
    np.testing.assert_allclose(loss(*inputs, reduction_override='none'), 3 * expected_N, rtol=1e-5, atol=1e-7)


def test_gradient_equals_that_of_the_formula_and_stays_finite_where_a_region_is_certain():
    torch.manual_seed(0)
    logits_NK = (torch.randn(6, 4, dtype=torch.float64) * 2).requires_grad_()
    label_N = torch.tensor([0, 1, 2, 3, 0, 1])
    p_N = logits_NK.softmax(dim=1)[range(6), label_N]
    (expected_NK,) = torch.autograd.grad((-((1 - p_N) ** 0.5) * p_N.log()).mean(), logits_NK)
    (slope_NK,) = torch.autograd.grad(make_loss()(logits_NK, label_N), logits_NK)
    torch.testing.assert_close(slope_NK, expected_NK, atol=1e-6, rtol=1e-5)
    certain_NK = torch.tensor([[200.0, 0.0, -torch.inf], [0.0, 200.0, -torch.inf]], requires_grad=True)
    loss = make_loss()(certain_NK, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(100)
    torch.testing.assert_close(certain_NK.grad, torch.tensor([[0.0, 0.0, 0.0], [-0.5, 0.5, 0.0]]))


def test_nothing_to_learn_from_is_zero_and_keeps_the_graph():
    logits_NK = torch.zeros(0, 4, requires_grad=True)
    loss = make_loss()(logits_NK, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    ignored = make_loss()(torch.zeros(2, 4), torch.tensor([-100, -100]))
    assert ignored.item() == 0


def test_the_box_head_takes_it_with_a_background_weight():
    loss_cls = dict(type='vlm_dense.FocalSoftmaxLoss', gamma=0.5)
    head = build(box_head(distill='none', background_weight=0.2, loss_cls=loss_cls)).train()
    asked = vocabulary('ant bee cat', 'ant bee')
    words = WordRows(RandomWords()(asked), torch.tensor(asked.is_base))
    outputs = head(torch.randn(5, 16, 7, 7))
    rois_N5 = torch.tensor([[0.0, place, place, place + 20, place + 10] for place in range(5)])
    sampled = SimpleNamespace(
        pos_priors=rois_N5[:2, 1:],
        neg_priors=rois_N5[2:, 1:],
        pos_gt_bboxes=rois_N5[:2, 1:] + 1,
        pos_gt_labels=torch.tensor([1, 0]),
    )
    losses = head.losses(outputs, rois_N5, words, [sampled], ConfigDict(pos_weight=-1))
    logits_NK = head.classifier(outputs.text_ND, words.text_KD).detach().numpy()
    weight_N = np.array([1, 1, 0.2, 0.2, 0.2])
    expected_N = by_formula(logits_NK, np.array([1, 0, 3, 3, 3]), weight_N, 0.5)
    np.testing.assert_allclose(losses['loss_cls'].item(), expected_N.mean(), rtol=1e-5)


def test_gamma_below_zero_is_refused():
    with pytest.raises(ConfigError, match='gamma=-1'):
        make_loss(gamma=-1)
