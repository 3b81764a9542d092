"""The decoder that is told one word at a time."""

import pytest
import torch
from segmentation_parts import labels_of
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads import FilmPixelHead

WIDTH, EMBED_DIM, GRID = 12, 10, (3, 4)


def a_head(**settings: object) -> FilmPixelHead:
    torch.manual_seed(0)
    return FilmPixelHead(WIDTH, EMBED_DIM, channels=8, feedforward=16, patch_size=4, **settings).eval()


def taps(number: int = 3, batch: int = 2) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(batch, WIDTH, *GRID), torch.randn(batch, WIDTH)) for _ in range(number)]


@torch.no_grad()
def test_one_word_of_one_picture_by_hand() -> None:
    """Layer by layer, from the paper's formula, with torch's functions alone."""
    head, features, text_KD = a_head(), taps(), torch.randn(5, EMBED_DIM)

    def linear(layer: nn.Linear, x: Tensor) -> Tensor:
        return x @ layer.weight.T + layer.bias

    tokens_LR: Tensor | float = 0.0
    for step, (map_BChw, token_BC) in enumerate(features[::-1]):
        given_LC = torch.cat([token_BC[1:2], map_BChw[1].permute(1, 2, 0).reshape(-1, WIDTH)])
        tokens_LR = linear(head.reduces[step], given_LC) + tokens_LR
        if step == 0:
            tokens_LR = linear(head.film_mul, text_KD[3]) * tokens_LR + linear(head.film_add, text_KD[3])
        block = head.blocks[step]
        attended_LR = block.self_attn(*[tokens_LR[None]] * 3)[0][0]
        tokens_LR = block.norm1(tokens_LR + attended_LR)
        tokens_LR = block.norm2(tokens_LR + linear(block.linear2, linear(block.linear1, tokens_LR).relu()))
    weight_R44 = head.enlarge.weight[:, 0]
    expected = torch.einsum('hwr,rij->hiwj', tokens_LR[1:].reshape(*GRID, -1), weight_R44).reshape(12, 16)
    found = head(features, text_KD)
    assert found.shape == (2, 5, 12, 16)
    torch.testing.assert_close(found[1, 3], expected + head.enlarge.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('refined', [False, True])
@torch.no_grad()
def test_portions_change_nothing(refined: bool) -> None:
    features, text_KD = taps(), torch.randn(7, EMBED_DIM)
    whole = a_head(refined=refined, pairs_at_once=14)(features, text_KD)
    for pairs in (1, 4, 1000):
        found = a_head(refined=refined, pairs_at_once=pairs)(features, text_KD)
        torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_words_do_not_see_each_other() -> None:
    head, features, text_KD = a_head(), taps(), torch.randn(6, EMBED_DIM)
    order = [4, 0, 5, 2]
    torch.testing.assert_close(head(features, text_KD[order]), head(features, text_KD)[:, order])
    assert head(features, text_KD).std(dim=1).min() > 0


@torch.no_grad()
def test_background_wins_exactly_where_every_word_is_below_the_threshold() -> None:
    features, text_KD = taps(), 4 * torch.randn(5, EMBED_DIM)
    plain = a_head()(features, text_KD)
    threshold = plain.sigmoid().amax(dim=1).median().item()
    head = a_head(threshold=threshold)
    assert head(features, text_KD).shape[1] == 6
    found = labels_of(head, head.row_maps(features, text_KD), (12, 16))
    expected = torch.where(plain.sigmoid().amax(dim=1) < threshold, 5, plain.argmax(dim=1))
    assert (found == expected).float().mean() > 0.99  # the median pixel itself lies on the edge
    assert 0.4 < (expected == 5).float().mean() < 0.6


def test_what_precedes_the_word_runs_once_per_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    head, calls = a_head(), []
    for layer in head.reduces:
        layer.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    head(taps(), torch.randn(9, EMBED_DIM))
    assert calls == [2, 2, 2]


def test_every_parameter_learns() -> None:
    head = a_head(refined=True).train()
    head(taps(), torch.randn(2, EMBED_DIM)).square().mean().backward()
    silent = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(threshold=1.0), 'threshold=1.0'),
        (dict(pairs_at_once=0), 'pairs_at_once=0'),
        (dict(refined=True, patch_size=14), 'square number, not 14'),
    ],
)
def test_settings_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FilmPixelHead(WIDTH, EMBED_DIM, channels=8, **settings)


def test_another_number_of_taps() -> None:
    with pytest.raises(ConfigError, match='built for 3 taps and the backbone gives 2'):
        a_head()(taps(2), torch.randn(1, EMBED_DIM))
