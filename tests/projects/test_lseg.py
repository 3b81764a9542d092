"""LSeg's own part against the paper's description in numpy, and its invariances."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from projects.lseg import SpatialBlock
from vlm_dense.errors import ConfigError

KINDS = ['depthwise', 'bottleneck']


def reference(block: SpatialBlock, logits: np.ndarray) -> np.ndarray:
    """One 3x3 kernel on every map, zeros outside; 'bottleneck' adds the maximum over maps."""
    kernel, bias = block.conv.weight.detach().double().numpy()[0, 0], block.conv.bias.item()
    for round_ in range(block.depth):
        if round_:
            logits = np.where(logits > 0, logits, 0.01 * logits)
        smooth = np.stack([[correlate(map_, kernel, mode='constant') + bias for map_ in picture] for picture in logits])
        logits = smooth + logits.max(1, keepdims=True) if block.adds_maximum else smooth
    return logits


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('depth', [1, 2, 4])
def test_block_equals_numpy(kind: str, depth: int) -> None:
    block = SpatialBlock(kind, depth)
    logits = torch.randn(2, 5, 7, 9)
    with torch.no_grad():
        found = block(logits).numpy()
    np.testing.assert_allclose(found, reference(block, logits.double().numpy()), atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_block_commutes_with_every_permutation_exactly(kind: str) -> None:
    block = SpatialBlock(kind, depth=3)
    logits = torch.randn(2, 11, 8, 8)
    order = torch.randperm(11)
    with torch.no_grad():
        assert torch.equal(block(logits[:, order]), block(logits)[:, order])


@pytest.mark.parametrize('kind', KINDS)
def test_one_block_serves_any_number_of_words(kind: str) -> None:
    block = SpatialBlock(kind, depth=2)
    assert sum(p.numel() for p in block.parameters()) == 10
    for num_words in (1, 3, 161):
        assert block(torch.randn(1, num_words, 4, 4)).shape == (1, num_words, 4, 4)


def test_depthwise_words_do_not_see_each_other() -> None:
    block = SpatialBlock('depthwise', depth=2)
    logits = torch.randn(1, 4, 6, 6)
    changed = logits.clone()
    changed[:, 2] += 5
    with torch.no_grad():
        assert torch.equal(block(logits)[:, [0, 1, 3]], block(changed)[:, [0, 1, 3]])


@pytest.mark.parametrize('depth', [1, 3])
def test_identity_start_changes_nothing_that_is_positive(depth: int) -> None:
    block = SpatialBlock('depthwise', depth, start='identity')
    logits = torch.rand(1, 3, 5, 5)
    torch.testing.assert_close(block(logits), logits)


@pytest.mark.parametrize('wrong', [dict(kind='conv'), dict(activation='gelu'), dict(start='zero'), dict(depth=0)])
def test_wrong_arguments_are_named(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SpatialBlock(**wrong)
