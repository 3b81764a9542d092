import pytest
import torch
from mmcv.ops import sigmoid_focal_loss, softmax_focal_loss

import vlm_dense  # noqa: F401

ALPHA = 0.3


def inputs(device, labels=(0, 2, 1, 2)):
    logits = (torch.randn(len(labels), 3) * 2).to(device, torch.float64).requires_grad_()
    return logits, torch.tensor(labels, device=device)


def weights(device):
    return torch.tensor([0.5, 2.0, 1.5], device=device, dtype=torch.float64)


def sigmoid_definition(logits, target, gamma, weight=None):
    """Eq. 5 with -log written out, the reference for values and, through autograd, for slopes."""
    rows = []
    for row, label in zip(logits, target.tolist(), strict=True):
        terms = []
        for k, logit in enumerate(row):
            p = 1 / (1 + torch.exp(-logit))
            p_t, share = (p, ALPHA) if k == label else (1 - p, 1 - ALPHA)
            factor = weight[label] if weight is not None and 0 <= label < len(weight) else 1.0
            terms.append(-factor * share * (1 - p_t) ** gamma * torch.log(p_t))
        rows.append(torch.stack(terms))
    return torch.stack(rows)


def softmax_definition(logits, target, gamma, weight=None):
    rows = []
    for row, label in zip(logits, target.tolist(), strict=True):
        if not 0 <= label < logits.shape[1]:
            rows.append(row.sum() * 0)
            continue
        p = (torch.exp(row) / torch.exp(row).sum())[label]
        rows.append(-ALPHA * (1 if weight is None else weight[label]) * (1 - p) ** gamma * torch.log(p))
    return torch.stack(rows)


PAIRS = [(sigmoid_focal_loss, sigmoid_definition), (softmax_focal_loss, softmax_definition)]


@pytest.mark.parametrize(('loss', 'definition'), PAIRS)
@pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0, 0.5])
@pytest.mark.parametrize('weighted', [True, False])
def test_equals_definition(device, loss, definition, gamma, weighted):
    logits, target = inputs(device)
    weight = weights(device) if weighted else None
    torch.testing.assert_close(
        loss(logits, target, gamma, ALPHA, weight, 'none'), definition(logits, target, gamma, weight)
    )


@pytest.mark.parametrize(('loss', 'definition'), PAIRS)
@pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0, 0.5])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_gradient(device, loss, definition, gamma, reduction):
    logits, target = inputs(device)
    found = torch.autograd.grad(loss(logits, target, gamma, ALPHA, weights(device), reduction), logits)[0]
    total = definition(logits, target, gamma, weights(device)).sum() / (len(target) if reduction == 'mean' else 1)
    torch.testing.assert_close(found, torch.autograd.grad(total, logits)[0])


def test_gradcheck(device):
    logits, target = inputs(device)
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, target, 2.0, ALPHA, None, 'none'), logits)


@pytest.mark.parametrize(('loss', 'definition'), PAIRS)
def test_labels_that_are_no_class(device, loss, definition):
    """K is mmdet's background and -1 its ignored rows."""
    logits, target = inputs(device, labels=(3, -1, 1))
    found = loss(logits, target, 2.0, ALPHA, weights(device), 'none')
    torch.testing.assert_close(found, definition(logits, target, 2.0, weights(device)))
    gradient = torch.autograd.grad(loss(logits, target, 2.0, ALPHA, weights(device), 'sum'), logits)[0]
    expected = torch.autograd.grad(definition(logits, target, 2.0, weights(device)).sum(), logits)[0]
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize('size', [60.0, 200.0, 2000.0])
def test_large_logits_stay_finite(device, size):
    logits = torch.tensor([[size, -size], [-size, size]], device=device, requires_grad=True)
    target = torch.tensor([0, 0], device=device)
    loss = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    loss.sum().backward()
    torch.testing.assert_close(loss[1].detach().cpu(), torch.tensor([0.25 * size, 0.75 * size]))
    assert logits.grad.isfinite().all()


def test_agrees_with_torchvision(device):
    from torchvision.ops import sigmoid_focal_loss as reference

    logits, target = inputs(device)
    expected = reference(logits, torch.nn.functional.one_hot(target, 3).double(), ALPHA, 2.0)
    torch.testing.assert_close(sigmoid_focal_loss(logits, target, 2.0, ALPHA, None, 'none'), expected)
