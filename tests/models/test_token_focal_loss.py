"""The token loss against mmdet's and torchvision's focal loss on selected logits, and what it keeps."""

import pytest
import torch
from mmdet.models.losses import FocalLoss
from torchvision.ops import sigmoid_focal_loss

from vlm_dense.registry import MODELS


def make_loss(**settings):
    return MODELS.build({'type': 'vlm_dense.TokenFocalLoss', **settings})


def make_inputs(pictures=2, anchors=11, tokens=7):
    generator = torch.Generator().manual_seed(0)
    logits_BNL = (4 * torch.randn(pictures, anchors, tokens, generator=generator)).requires_grad_()
    targets_BNL = (torch.rand(pictures, anchors, tokens, generator=generator) < 0.2).float()
    is_token_BL = torch.arange(tokens) < torch.tensor([[tokens], [tokens - 3]])
    weight_BN = torch.rand(pictures, anchors, generator=generator)
    return logits_BNL, targets_BNL, is_token_BL, weight_BN


def selected(logits_BNL, targets_BNL, is_token_BL, weight_BN):
    is_token_BNL = is_token_BL[:, None].expand_as(logits_BNL)
    weight_BNL = weight_BN[..., None].expand_as(logits_BNL)
    return logits_BNL[is_token_BNL], targets_BNL[is_token_BNL], weight_BNL[is_token_BNL]


@pytest.mark.parametrize('chunk', [1, 30, 1 << 20])
def test_equals_mmdets_loss_on_selected_tokens(chunk):
    inputs = make_inputs()
    loss = make_loss(loss_weight=2.0, chunk=chunk)(*inputs, avg_factor=5.0)
    (gradient_BNL,) = torch.autograd.grad(loss, inputs[0])
    logits_S, targets_S, weight_S = selected(*inputs)
    expected = FocalLoss(loss_weight=2.0)(logits_S[:, None], targets_S[:, None], weight_S, avg_factor=5.0)
    (expected_BNL,) = torch.autograd.grad(expected, inputs[0])
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(gradient_BNL, expected_BNL, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(('alpha', 'gamma'), [(0.25, 2.0), (0.6, 0.0), (0.4, 1.5)])
def test_equals_torchvisions_loss_and_has_its_gradient(alpha, gamma):
    inputs = [one.double() if one.is_floating_point() else one for one in make_inputs()]
    logits_BNL = inputs[0].detach().requires_grad_()
    loss = make_loss(alpha=alpha, gamma=gamma)(logits_BNL, *inputs[1:], torch.tensor(3.0))
    logits_S, targets_S, weight_S = selected(logits_BNL, *inputs[1:])
    expected = (sigmoid_focal_loss(logits_S, targets_S, alpha, gamma) * weight_S).sum() / 3
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=1e-9)
    gradients = [torch.autograd.grad(value, logits_BNL)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)


def test_extreme_logits_in_half_precision_stay_finite():
    logits_BNL = torch.tensor([[[5e4, -5e4, 5e4, -5e4, torch.nan]]], dtype=torch.float16, requires_grad=True)
    targets_BNL = torch.tensor([[[1, 1, 0, 0, 1]]])
    is_token_BL = torch.tensor([[True, True, True, True, False]])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = make_loss()(logits_BNL, targets_BNL, is_token_BL, None, 1.0)
    loss.backward()
    assert loss.dtype == torch.float32
    # The cheap sides cost nothing; the dear ones alpha_t times their distance.
    assert loss.item() == pytest.approx(0.25 * 49984 + 0.75 * 49984)
    assert logits_BNL.grad[0, 0].tolist() == [0, -0.25, 0.75, 0, 0]


def test_nothing_but_the_inputs_is_kept():
    inputs, saved = make_inputs(), []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda kept: kept):
        make_loss()(*inputs, avg_factor=1.0)
    assert sum(one.numel() for one in saved if one.is_floating_point()) == inputs[0].numel() + inputs[3].numel()
    assert sum(one.numel() for one in saved if one.dtype == torch.bool) == inputs[1].numel() + inputs[2].numel()


def test_no_anchor_is_zero_and_keeps_the_graph():
    logits_BNL = torch.zeros(2, 0, 3, requires_grad=True)
    loss = make_loss()(logits_BNL, torch.zeros(2, 0, 3), torch.ones(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
