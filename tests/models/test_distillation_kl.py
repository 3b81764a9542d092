"""Distillation against torch's divergence of probabilities and the formula in numpy."""

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS


def make_loss(**settings):
    return MODELS.build({'type': 'vlm_dense.DistillationKL', **settings})


def similarities():
    generator = torch.Generator().manual_seed(0)
    student_NK, teacher_NK = torch.randn(2, 6, 9, generator=generator)
    return student_NK.requires_grad_(), teacher_NK.requires_grad_()


def test_equals_torchs_mean_over_regions_and_the_teacher_gets_no_gradient():
    student_NK, teacher_NK = similarities()
    loss = make_loss(student_temperature=0.3, teacher_temperature=0.5, loss_weight=2.0)(student_NK, teacher_NK)
    target_NK = (teacher_NK.detach() / 0.5).softmax(dim=1)
    expected = 2 * kl_div((student_NK / 0.3).softmax(dim=1).log(), target_NK, reduction='batchmean')
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-5)
    gradients = [torch.autograd.grad(value, student_NK)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)
    make_loss()(student_NK, teacher_NK).backward()
    assert teacher_NK.grad is None


def test_weights_and_divisor_follow_the_formula():
    student_NK, teacher_NK = (side.detach() for side in similarities())
    weight_N = torch.tensor([0.0, 1.0, 2.0, 0.5, 0.0, 1.0])
    q_NK, p_NK = (np.exp(side.numpy()) for side in (teacher_NK, student_NK))
    q_NK, p_NK = (side / side.sum(axis=1, keepdims=True) for side in (q_NK, p_NK))
    divergence_N = (q_NK * np.log(q_NK / p_NK)).sum(axis=1)
    expected = (divergence_N * weight_N.numpy()).sum() / 4
    np.testing.assert_allclose(make_loss()(student_NK, teacher_NK, weight_N, 4), expected, rtol=1e-5)


def test_sharp_temperatures_stay_finite_where_probabilities_are_zero():
    student_NK = torch.tensor([[1.0, -1.0, 0.0]], requires_grad=True)
    teacher_NK = torch.tensor([[-1.0, 1.0, 0.0]])
    loss = make_loss(student_temperature=0.01, teacher_temperature=0.01)(student_NK, teacher_NK)
    loss.backward()
    # All of the teacher's weight is where the student's logit is 200 below its best.
    assert loss.item() == pytest.approx(200)
    torch.testing.assert_close(student_NK.grad, torch.tensor([[100.0, -100.0, 0.0]]))


def test_no_region_is_zero_and_temperatures_are_checked():
    empty = torch.zeros(0, 4, requires_grad=True)
    loss = make_loss()(empty, torch.zeros(0, 4))
    loss.backward()
    assert loss.item() == 0
    with pytest.raises(ConfigError, match='teacher_temperature=0'):
        make_loss(teacher_temperature=0)
