"""Query embeddings against sums by hand."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from vlm_dense.models.heads.mask import QueryEmbedding
from vlm_dense.models.heads.mask.query_embedding import hard_means

B, N, C, D, P = 2, 3, 8, 6, 5


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(B, N, C), torch.randn(B, N, 4, 5), torch.randn(B, P, 4, 5)


@pytest.mark.parametrize('num_layers', [1, 2, 3])
def test_layers_are_matrices_with_relu_between(num_layers: int) -> None:
    query_BNC, mask_BNhw, features_BPhw = inputs()
    embed = QueryEmbedding(C, D, num_layers)
    state = {name: value.detach().numpy() for name, value in embed.state_dict().items()}
    assert set(state) == {f'layers.{2 * at}.{kind}' for at in range(num_layers) for kind in ('weight', 'bias')}
    expected = query_BNC.numpy()
    for at in range(num_layers):
        expected = expected @ state[f'layers.{2 * at}.weight'].T + state[f'layers.{2 * at}.bias']
        if at < num_layers - 1:
            expected = np.maximum(expected, 0)
    found = embed(query_BNC, mask_BNhw, features_BPhw)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_pooled_is_layer_norm_and_projection_of_the_mean_inside_added_to_the_query() -> None:
    query_BNC, mask_BNhw, features_BPhw = inputs()
    mask_BNhw[1, 2] = -1.0
    embed = QueryEmbedding(C, D, 3, pooled_channels=P)
    torch.nn.init.normal_(embed.pooled[0].weight)
    torch.nn.init.normal_(embed.pooled[0].bias)
    gamma, beta, matrix, bias = (
        embed.pooled.state_dict()[name].numpy() for name in ('0.weight', '0.bias', '1.weight', '1.bias')
    )
    found_BND = embed(query_BNC, mask_BNhw, features_BPhw)
    added = np.zeros((B, N, C))
    for picture in range(B):
        for query in range(N):
            inside = mask_BNhw[picture, query].numpy() > 0
            mean = features_BPhw[picture].numpy()[:, inside].mean(axis=1) if inside.any() else np.zeros(P)
            normal = (mean - mean.mean()) / np.sqrt(mean.var() + 1e-5) * gamma + beta
            added[picture, query] = matrix @ normal + bias
    expected_BND = embed.layers(query_BNC + torch.tensor(added, dtype=torch.float32))
    assert_close(found_BND, expected_BND, rtol=1e-4, atol=1e-5)


def test_pooling_teaches_features_and_not_masks() -> None:
    query_BNC, mask_BNhw, features_BPhw = inputs()
    mask_BNhw.requires_grad_()
    features_BPhw.requires_grad_()
    QueryEmbedding(C, D, 1, pooled_channels=P)(query_BNC, mask_BNhw, features_BPhw).sum().backward()
    assert mask_BNhw.grad is None
    assert features_BPhw.grad.abs().sum() > 0


def test_half_precision_counts_every_cell_of_a_large_mask() -> None:
    """300 * 300 cells are more than float16 can count."""
    features_1Phw = torch.ones(1, 2, 300, 300, dtype=torch.float16)
    means_11P = hard_means(features_1Phw, torch.ones(1, 1, 300, 300, dtype=torch.float16))
    assert_close(means_11P, torch.ones(1, 1, 2), rtol=1e-3, atol=0)
