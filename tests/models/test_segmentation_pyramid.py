"""The head over stage maps: its anchor, its gate, and the closed-set control."""

import pytest
import torch
from segmentation_parts import EMBED_DIM, HashBank, labels_of, samples
from torch import nn
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads.pixel_linear_classifier import NEVER, PixelLinearClassifier
from vlm_dense.models.decode_heads.pixels import join_gate
from vlm_dense.models.decode_heads.row_maps import GridMaps
from vlm_dense.registry import MODELS
from vlm_dense.text.vocabulary import Vocabulary

WORDS = ['cat', 'dog', 'tree', 'sky', 'lamp']


@MODELS.register_module()
class OneByOneAnchor(nn.Module):
    """A frozen 1x1 convolution from the coarsest map to the shared space."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, EMBED_DIM, 1).requires_grad_(False)

    def forward(self, map_BChw: torch.Tensor) -> torch.Tensor:
        return self.conv(map_BChw)


def pyramid_head(**changes: object) -> nn.Module:
    head = dict(
        type='vlm_dense.PyramidPixelHead',
        in_channels=(6, 10, 16),
        channels=8,
        embed_dim=EMBED_DIM,
        rank=3,
        shrink=4,
        anchor=dict(type='vlm_dense.OneByOneAnchor'),
        gate=True,
        loss_size='logits',
        classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED_DIM, temperature=0.07, background=None),
    )
    return MODELS.build({**head, **changes})


def maps(batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    shapes = ((6, 16), (10, 8), (16, 4))
    return [torch.randn(batch, width, side, side, generator=generator) for width, side in shapes]


def text(words: list[str] = WORDS) -> torch.Tensor:
    return HashBank()(Vocabulary.from_words(words))


def test_grids_and_channels() -> None:
    head = pyramid_head().eval()
    pixels = head.embed(maps())
    assert pixels.dense_BDhw.shape == (2, EMBED_DIM, 8, 8)
    assert pixels.gate_B1hw.shape == (2, 1, 32, 32)
    assert head(maps(), text()).shape == (2, len(WORDS) + 1, 32, 32)
    assert labels_of(head, head.row_maps(maps(), text()), (50, 40)).shape == (2, 50, 40)


def test_training_starts_at_the_anchor() -> None:
    head = pyramid_head().eval()
    with torch.no_grad():
        found = head.embed(maps()).dense_BDhw
        unit = functional.normalize(head.anchor(maps()[-1]), dim=1)
    expected = functional.interpolate(unit, (8, 8), mode='bilinear', align_corners=False)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_without_anchor_and_rank_the_embedding_is_a_plain_projection() -> None:
    head = pyramid_head(anchor=None, rank=None, shrink=1).eval()
    with torch.no_grad():
        found = head.embed(maps()).dense_BDhw
        expected = functional.conv2d(head.fusion(maps()), head.project[0].weight)
    torch.testing.assert_close(found, expected)


def test_gate_is_the_probability_of_background_whatever_the_words() -> None:
    head = pyramid_head().eval()
    with torch.no_grad():
        gate = head.embed(maps()).gate_B1hw[:, 0]
        for words in (WORDS, WORDS[:2], ['one'], [f'word {k}' for k in range(200)]):
            background = head(maps(), text(words)).softmax(1)[:, -1]
            torch.testing.assert_close(background, gate.sigmoid(), atol=1e-5, rtol=1e-4)


def test_joined_gate_gives_each_word_its_share_of_the_foreground() -> None:
    words, gate = torch.randn(2, 4, 3, 3), torch.randn(2, 1, 3, 3)
    found = join_gate(words, gate).softmax(1)
    expected = torch.cat([words.softmax(1) * (1 - gate.sigmoid()), gate.sigmoid()], 1)
    torch.testing.assert_close(found, expected)


def test_decision_is_background_exactly_where_the_gate_is_positive() -> None:
    words, gate = torch.randn(2, 40, 6, 6), torch.randn(2, 1, 6, 6)
    head = pyramid_head()
    label = labels_of(head, GridMaps(words, head.resize, gate_B1hw=gate), (6, 6))
    expected = torch.where(gate[:, 0] > 0, torch.tensor(40), words.argmax(1))
    assert torch.equal(label, expected)


def test_predicted_words_do_not_turn_into_background_with_more_words() -> None:
    head = pyramid_head().eval()
    with torch.no_grad():
        few = labels_of(head, head.row_maps(maps(), text(WORDS)), (32, 32)) == len(WORDS)
        many_words = WORDS + [f'word {k}' for k in range(300)]
        many = labels_of(head, head.row_maps(maps(), text(many_words)), (32, 32)) == len(many_words)
    assert torch.equal(few, many)
    assert 0 < few.float().mean() < 1


def test_every_parameter_learns_but_the_anchor() -> None:
    head = pyramid_head(dropout_ratio=0.1).train()
    labels = torch.arange(6).repeat(2, 64, 11)[..., :64]
    losses = head.loss(maps(), samples(WORDS, labels), text())
    losses['loss_ce'].backward()
    frozen = {name for name, p in head.named_parameters() if not p.requires_grad}
    assert frozen == {'anchor.conv.weight', 'anchor.conv.bias'}
    silent = {name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == frozen


def test_two_backgrounds_are_refused() -> None:
    with pytest.raises(ConfigError, match='background=None'):
        pyramid_head(classifier=dict(type='vlm_dense.EmbeddingClassifier', embed_dim=EMBED_DIM))


def test_wrong_loss_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="loss_size='pixels'"):
        pyramid_head(loss_size='pixels')


class TestClosedSetControl:
    vocabulary = Vocabulary.from_words(WORDS, base=['cat', 'tree', 'lamp'])

    def flags(self) -> torch.Tensor:
        return torch.tensor(self.vocabulary.is_base)

    def test_base_words_get_linear_scores_and_others_none(self) -> None:
        classifier = PixelLinearClassifier(EMBED_DIM, self.vocabulary)
        dense = torch.randn(2, EMBED_DIM, 3, 3)
        found = classifier(dense, text(), self.flags())
        unit = functional.normalize(dense, dim=1)
        expected = torch.einsum('bdhw,jd->bjhw', unit, classifier.linear.weight[:, :, 0, 0])
        expected = expected + classifier.linear.bias[:, None, None]
        torch.testing.assert_close(found[:, self.flags()], expected)
        assert (found[:, ~self.flags()] == NEVER).all()

    def test_it_cannot_name_an_unseen_word(self) -> None:
        head = pyramid_head(
            classifier=dict(type='vlm_dense.PixelLinearClassifier', embed_dim=EMBED_DIM, vocabulary=self.vocabulary)
        ).eval()
        with torch.no_grad():
            labels = labels_of(head, head.row_maps(maps(), text(), self.flags()), (32, 32))
        assert set(labels.unique().tolist()) <= {0, 2, 4, 5}

    def test_another_number_of_base_words_is_refused(self) -> None:
        classifier = PixelLinearClassifier(EMBED_DIM, self.vocabulary)
        with pytest.raises(ConfigError, match='knows 3 base words, the request has 5'):
            classifier(torch.randn(1, EMBED_DIM, 2, 2), text(), torch.ones(5, dtype=torch.bool))

    def test_a_request_without_base_words_gets_finite_scores(self) -> None:
        classifier = PixelLinearClassifier(EMBED_DIM, self.vocabulary)
        found = classifier(torch.randn(1, EMBED_DIM, 2, 2), text(), torch.zeros(5, dtype=torch.bool))
        assert (found == NEVER).all()
