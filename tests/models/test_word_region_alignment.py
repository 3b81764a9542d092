"""Alignment scores against loops, and the loss of two processes against that of one."""

import numpy as np
import pytest
import torch
from gloo_parts import in_joined_processes
from torch import distributed, nn

from vlm_dense.errors import ConfigError
from vlm_dense.registry import MODELS

REGIONS, TOKENS = [3, 1, 4, 0, 2], [2, 5, 1, 3, 4]
FORMS = [
    dict(pool='attention', per='word'),
    dict(pool='max', per='both', normalize=True, scale=9.0, learn_scale=True),
    dict(pool='mean', per='region', scale=0.5),
    dict(pool='attention', per='region'),
]


class Aligned(nn.Module):
    def __init__(self, settings):
        super().__init__()
        torch.manual_seed(5)
        self.regions, self.tokens = nn.Linear(4, 6), nn.Linear(5, 6)
        self.loss = MODELS.build({'type': 'vlm_dense.WordRegionAlignment', 'chunk': 2, **settings})

    def forward(self, region_BRD, is_region_BR, token_BLD, is_token_BL):
        return self.loss(self.regions(region_BRD), is_region_BR, self.tokens(token_BLD), is_token_BL)


def batch(numbers):
    sides = []
    for sizes, width in ((REGIONS, 4), (TOKENS, 5)):
        rows = [
            torch.randn(sizes[number], width, generator=torch.Generator().manual_seed(number)) for number in numbers
        ]
        # One more than needed, of values that would be noticed.
        longest = 1 + max((sizes[number] for number in numbers), default=0)
        padded = torch.full((len(numbers), longest, width), 50.0)
        for place, one in enumerate(rows):
            padded[place, : len(one)] = one
        sides += [padded, torch.arange(longest) < torch.tensor([len(one) for one in rows])[:, None]]
    return sides


def pooled(values, pool):
    if not len(values):
        return 0.0
    if pool == 'attention':
        weights = np.exp(values - values.max())
        return (weights * values).sum() / weights.sum()
    return values.max() if pool == 'max' else values.mean()


def by_loops(settings):
    """The loss from one picture and caption at a time, in numpy."""
    model = Aligned(settings)
    scores = np.zeros((5, 5))
    with torch.no_grad():
        region_BRD, _, token_BLD, _ = batch(range(5))
        regions, tokens = model.regions(region_BRD).double().numpy(), model.tokens(token_BLD).double().numpy()
    for picture, caption in np.ndindex(5, 5):
        region_RD, token_LD = regions[picture, : REGIONS[picture]], tokens[caption, : TOKENS[caption]]
        if settings.get('normalize'):
            region_RD = region_RD / np.linalg.norm(region_RD, axis=1, keepdims=True)
            token_LD = token_LD / np.linalg.norm(token_LD, axis=1, keepdims=True)
        similar_RL = settings.get('scale', 1.0) * region_RD @ token_LD.T
        per_word = np.mean([pooled(column, settings['pool']) for column in similar_RL.T])
        per_region = np.mean([pooled(row, settings['pool']) for row in similar_RL]) if len(similar_RL) else 0.0
        scores[picture, caption] = dict(word=per_word, region=per_region, both=(per_word + per_region) / 2)[
            settings['per']
        ]
    exps = np.exp(scores)
    return -(np.log(np.diag(exps) / exps.sum(0)) + np.log(np.diag(exps) / exps.sum(1))).mean() / 2


def _in_part(rank, settings, split):
    model = Aligned(settings)
    joined = nn.parallel.DistributedDataParallel(model) if distributed.is_initialized() else model
    value = joined(*batch(split[rank]))
    value.backward()
    return value.detach(), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize('settings', FORMS, ids=lambda settings: f'{settings["pool"]} {settings["per"]}')
def test_equals_loops_and_two_processes_equal_one(settings):
    value, gradients = _in_part(0, settings, [range(5)])
    np.testing.assert_allclose(value, by_loops(settings), rtol=1e-5)
    for split in ([[0, 1], [2, 3, 4]], [[], [0, 1, 2, 3, 4]]):
        parts = in_joined_processes(_in_part, settings, split)
        torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, value, atol=1e-6, rtol=1e-6)
        for _, averaged in parts:
            torch.testing.assert_close(averaged, gradients, atol=1e-5, rtol=1e-5)


def test_chunks_change_nothing_and_gradients_are_those_of_the_plain_computation():
    found = [_in_part(0, dict(FORMS[0], chunk=chunk), [range(5)]) for chunk in (1, 3, 100)]
    for value, gradients in found[1:]:
        torch.testing.assert_close(value, found[0][0])
        torch.testing.assert_close(gradients, found[0][1])
    double = MODELS.build({'type': 'vlm_dense.WordRegionAlignment', 'chunk': 2}).double()
    region_BRD, is_region_BR, token_BLD, is_token_BL = batch([0, 1, 2])
    rows = [side.double().requires_grad_() for side in (region_BRD[..., :3] / 9, token_BLD[..., :3] / 9)]
    torch.autograd.gradcheck(lambda regions, tokens: double(regions, is_region_BR, tokens, is_token_BL), rows)


def test_only_scores_are_kept_of_the_similarities():
    def kept(chunk, width):
        saved = []
        module = MODELS.build({'type': 'vlm_dense.WordRegionAlignment', 'chunk': chunk})
        rows = [torch.randn(8, width, 4, requires_grad=True) for _ in range(2)]
        is_part = torch.ones(8, width, dtype=torch.bool)
        with torch.autograd.graph.saved_tensors_hooks(lambda one: saved.append(one.numel()), lambda one: one):
            module(rows[0], is_part, rows[1], is_part)
        return sum(saved)

    # Quadratic in the number of regions and tokens it would be 16 times as much.
    assert kept(4, 160) < 4.5 * kept(4, 40)


def test_unknown_choices_are_named():
    with pytest.raises(ConfigError, match="pool='sum'"):
        MODELS.build({'type': 'vlm_dense.WordRegionAlignment', 'pool': 'sum'})
    with pytest.raises(ConfigError, match='chunk=0'):
        MODELS.build({'type': 'vlm_dense.WordRegionAlignment', 'chunk': 0})
