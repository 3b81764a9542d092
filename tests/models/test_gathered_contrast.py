"""Contrast over processes against one process that forms the whole matrix, and what it keeps in memory."""

import numpy as np
import pytest
import torch
from gloo_parts import in_joined_processes
from torch import distributed, nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils._python_dispatch import TorchDispatchMode

from vlm_dense.errors import ConfigError
from vlm_dense.models.losses.text_keys import text_keys
from vlm_dense.registry import MODELS

WIDTH = 6
FORMS = [
    dict(positives='sum'),
    dict(positives='mean'),
    dict(positives='sum', symmetric=False, learn_scale=False, scale=100.0),
]


def make_loss(**settings):
    return MODELS.build({'type': 'vlm_dense.GatheredContrast', 'scale': 5.0, 'chunk': 20, **settings})


def make_towers():
    generator = torch.Generator().manual_seed(1)
    towers = nn.ModuleList([nn.Linear(4, WIDTH), nn.Linear(5, WIDTH)])
    for parameter in towers.parameters():
        nn.init.normal_(parameter, generator=generator)
    return towers


def whole_batch(rows=9, columns=7):
    """Inputs of both sides, labels (0..3, and one on each side that nobody else has) and ids."""
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.randn(count, width, generator=generator) for count, width in ((rows, 4), (columns, 5))]
    labels = [torch.randint(0, 4, (count,), generator=generator) for count in (rows, columns)]
    labels[0][2], labels[1][5] = 50, 60
    ids = [torch.randint(0, 3, (count,), generator=generator) for count in (rows, columns)]
    return inputs, labels, ids


def by_whole_matrix(settings, with_ids, avg_factor=None):
    """The module's equations on all pairs at once."""
    inputs, (label_N, label_M), (id_N, id_M) = whole_batch()
    towers = make_towers()
    log_scale = torch.tensor(settings.get('scale', 5.0)).log().requires_grad_()
    first_ND, second_MD = (normalize(tower(side), dim=1) for tower, side in zip(towers, inputs, strict=True))
    logits_NM = log_scale.exp() * first_ND @ second_MD.T
    positive_NM = label_N[:, None] == label_M
    dropped_NM = (id_N[:, None] == id_M) & ~positive_NM & with_ids
    parts = []
    for logits, positive, dropped in ((logits_NM, positive_NM, dropped_NM), (logits_NM.T, positive_NM.T, dropped_NM.T)):
        log_p = logits.masked_fill(dropped, -1e9).log_softmax(dim=1)
        rows = [index for index in range(len(logits)) if positive[index].any()]
        if settings['positives'] == 'sum':
            losses = [-log_p[index][positive[index]].exp().sum().log() for index in rows]
        else:
            losses = [-log_p[index][positive[index]].mean() for index in rows]
        parts.append(sum(losses) / (avg_factor or len(rows)))
    loss = sum(parts) / 2 if settings.get('symmetric', True) else parts[0]
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in towers.parameters()], log_scale.grad


class Contrasted(nn.Module):
    """Two towers and the loss."""

    def __init__(self, settings):
        super().__init__()
        self.towers, self.loss = make_towers(), make_loss(**settings)

    def forward(self, inputs, *args):
        return self.loss(*(tower(side) for tower, side in zip(self.towers, inputs, strict=True)), *args)


def _in_part(rank, settings, with_ids, rows, columns, avg_factor):
    inputs, labels, ids = (
        [side.split(counts)[rank] for side, counts in zip(pair, (rows, columns), strict=True)] for pair in whole_batch()
    )
    model = Contrasted(settings)
    joined = nn.parallel.DistributedDataParallel(model) if distributed.is_initialized() else model
    value = joined(inputs, labels, ids if with_ids else None, avg_factor)
    value.backward()
    scale = model.loss.logit_scale.log
    return value.detach(), [parameter.grad for parameter in model.towers.parameters()], scale.grad


def assert_equal_to_one(parts, expected, settings):
    """Both processes hold the gradients of the whole batch; the mean of their losses is its loss."""
    torch.testing.assert_close(sum(part[0] for part in parts) / len(parts), expected[0], atol=1e-6, rtol=1e-6)
    for _, gradients, scale_gradient in parts:
        torch.testing.assert_close(gradients, expected[1], atol=1e-5, rtol=1e-5)
        if settings.get('learn_scale', True):
            torch.testing.assert_close(scale_gradient, expected[2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('settings', FORMS, ids=['sum', 'mean', 'one direction'])
@pytest.mark.parametrize('rows', [[6, 3], [9, 0]], ids=['uneven', 'one empty'])
def test_two_processes_under_data_parallelism_equal_one_on_the_whole_batch(settings, rows):
    parts = in_joined_processes(_in_part, settings, True, rows, [2, 5], None)
    assert_equal_to_one(parts, by_whole_matrix(settings, with_ids=True), settings)


def test_a_given_count_divides_the_sums():
    # 12 over two processes is 6 in each.
    parts = in_joined_processes(_in_part, FORMS[1], False, [4, 5], [4, 3], 6.0)
    assert_equal_to_one(parts, by_whole_matrix(FORMS[1], with_ids=False, avg_factor=12), FORMS[1])


def _paired_part(rank, gather):
    generator = torch.Generator().manual_seed(3)
    pairs_2ND = torch.randn(2, 7, WIDTH, generator=generator)
    first_nD, second_nD = (side.split([5, 2])[rank].clone().requires_grad_() for side in pairs_2ND)
    value = make_loss(gather=gather)(first_nD, second_nD)
    value.backward()
    return value.detach(), first_nD.grad, second_nD.grad


@pytest.mark.parametrize('gather', [True, False])
def test_pairs_without_labels_are_clips_loss(gather):
    parts = in_joined_processes(_paired_part, gather)
    pairs_2ND = torch.randn(2, 7, WIDTH, generator=torch.Generator().manual_seed(3)).requires_grad_()
    losses = []
    for rows in [slice(0, 7)] if gather else [slice(0, 5), slice(5, 7)]:
        logits_NN = 5 * normalize(pairs_2ND[0, rows], dim=1) @ normalize(pairs_2ND[1, rows], dim=1).T
        target_N = torch.arange(len(logits_NN))
        losses.append((cross_entropy(logits_NN, target_N) + cross_entropy(logits_NN.T, target_N)) / 2)
    expected = sum(losses) / len(losses)
    expected.backward()
    torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, expected.detach(), atol=1e-6, rtol=1e-6)
    gradient_2ND = torch.cat([torch.stack(part[1:]) for part in parts], dim=1) / 2
    torch.testing.assert_close(gradient_2ND, pairs_2ND.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('settings', FORMS, ids=['sum', 'mean', 'one direction'])
def test_alone_it_equals_the_whole_matrix(settings):
    part = _in_part(0, settings, False, [9], [7], None)
    assert_equal_to_one([part], by_whole_matrix(settings, with_ids=False), settings)


def test_regions_and_the_concepts_of_their_labels_are_regionclips_loss():
    random = np.random.default_rng(0)
    region_ND, concept_KD = random.normal(size=(8, WIDTH)), random.normal(size=(4, WIDTH))
    label_N = np.array([0, 2, 2, 1, 0, 2, 3, 1])
    unit_ND, target_ND = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (region_ND, concept_KD[label_N])
    )
    score_NN = np.exp(unit_ND @ target_ND.T / 0.01)
    same_NN = label_N[:, None] == label_N
    expected = -np.log((score_NN * same_NN).sum(axis=1) / score_NN.sum(axis=1)).mean()
    loss = make_loss(scale=100.0, learn_scale=False, symmetric=False, gather=False)
    labels = torch.tensor(label_N)
    value = loss(torch.tensor(region_ND), torch.tensor(concept_KD[label_N]), (labels, labels))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest result."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def memory_of(rows):
    saved = []
    sides_2ND = torch.randn(2, rows, 4, requires_grad=True)
    loss = make_loss(chunk=1 << 15, scale=1.0)

    def count(kept):
        saved.append(kept.numel())
        return kept

    with LargestTensor() as largest:
        with torch.autograd.graph.saved_tensors_hooks(
            lambda kept: saved.append(kept.numel()) or kept, lambda kept: kept
        ):
            value = loss(sides_2ND[0], sides_2ND[1])
        value.backward()
    return sum(saved), largest.elements


def test_memory_grows_linearly_with_the_rows():
    saved, largest = zip(*(memory_of(rows) for rows in (512, 1024, 2048)), strict=True)
    # Twice the rows keep twice the numbers, within the few that do not depend on the rows.
    assert saved[2] - saved[1] == 2 * (saved[1] - saved[0]) > 0
    assert saved[2] < 2048 * 50
    assert largest == (1 << 15,) * 3


def test_half_precision_stays_finite_and_close():
    generator = torch.Generator().manual_seed(4)
    first_ND, second_ND = torch.randn(2, 8, WIDTH, generator=generator)
    expected = make_loss(scale=100.0)(first_ND, second_ND)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = make_loss(scale=100.0)(first_ND, second_ND)
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-6)
    half = make_loss(scale=100.0)(1000 * first_ND.half(), second_ND.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=0.1, rtol=0.02)


def test_a_scale_above_its_bound_is_held_and_comes_back():
    loss = make_loss(scale=90.0)
    with torch.no_grad():
        loss.logit_scale.log += 1
    assert loss.logit_scale().item() == pytest.approx(100, rel=1e-5)
    loss(torch.eye(3), torch.eye(3).roll(1, dims=0)).backward()
    assert loss.logit_scale.log.grad > 0


def test_keys_of_texts_are_the_same_everywhere():
    keys = text_keys(['Traffic light', 'traffic light ', 'tree'])
    assert keys[0] == keys[1] != keys[2]
    assert keys.min() >= 0
    # Another process would find another number with Python's hash.
    assert keys[2].item() == 4598533651959076374


def test_what_cannot_be_paired_or_built_is_named():
    with pytest.raises(ConfigError, match='3 rows on one side and 2'):
        make_loss()(torch.randn(3, 4), torch.randn(2, 4))
    with pytest.raises(ConfigError, match=r'scale=200'):
        make_loss(scale=200.0)
    with pytest.raises(ConfigError, match="positives='max'"):
        make_loss(positives='max')
    with pytest.raises(ConfigError, match='chunk=0'):
        make_loss(chunk=0)
