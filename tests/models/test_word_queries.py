"""Training by one question per picture."""

import pytest
import torch
from segmentation_parts import EMBED_DIM, SIZE, HashBank, images, quadrants, samples
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.segmentors.drawn_words import draw_words
from vlm_dense.registry import MODELS

WORDS = ['cat', 'dog', 'tree', 'sky', 'lamp', 'ship']  # of which the quadrants show four


def a_model(**settings: object) -> torch.nn.Module:
    backbone = dict(
        type='mmseg.VisionTransformer',
        img_size=(SIZE, SIZE),
        embed_dims=16,
        num_layers=2,
        num_heads=2,
        out_indices=(0, 1),
        output_cls_token=True,
    )
    return MODELS.build(
        dict(
            type='vlm_dense.WordQuerySegmentor',
            data_preprocessor=dict(type='mmseg.SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3),
            backbone=backbone,
            decode_head=dict(
                type='vlm_dense.FilmPixelHead', in_channels=16, embed_dim=EMBED_DIM, taps=2, channels=8, feedforward=16
            ),
            text_bank=dict(type='vlm_dense.HashBank'),
            **settings,
        )
    )


class TestDrawing:
    def test_masks_belong_to_the_words(self) -> None:
        labels = quadrants()
        labels[:, :3] = 255
        seen = set()
        for _ in range(50):
            words, targets = draw_words(samples(WORDS, labels), 0.5, 255)
            for word, target, label in zip(words, targets, labels, strict=True):
                expected = torch.where(label == 255, 255, (label == WORDS.index(word)).long())
                assert torch.equal(target, expected)
                seen.add(word)
        assert seen == set(WORDS)

    @pytest.mark.parametrize('negatives', [0.0, 0.2, 1.0])
    def test_how_often_a_word_is_absent(self, negatives: float) -> None:
        asked = samples(WORDS, quadrants(batch=500))
        words, targets = draw_words(asked, negatives, 255)
        absent = torch.tensor([word in WORDS[4:] for word in words]).float()
        assert absent.mean().item() == pytest.approx(negatives, abs=0.06)
        assert torch.equal(targets.flatten(1).any(1), absent == 0)

    def test_a_sample_lends_its_words_to_the_others(self) -> None:
        """Samples with one phrase each, of which label 0 is the phrase and 1 is not."""
        labels = (quadrants(batch=1) > 0).long()
        batch = [samples([phrase], labels)[0] for phrase in ('red car', 'Man on the left', 'man  on the left')]
        words, targets = draw_words(batch, 1.0, 255)
        assert words == ['Man on the left', 'red car', 'red car']
        assert not targets.any()
        words, targets = draw_words(batch, 0.0, 255)
        assert words == ['red car', 'Man on the left', 'Man on the left']  # the same words
        assert torch.equal(targets, (labels == 0).long().expand(3, -1, -1))

    def test_pictures_that_leave_no_choice(self) -> None:
        everything, nothing = quadrants(batch=1), torch.full((1, SIZE, SIZE), 4)
        words, targets = draw_words(samples(WORDS[:4], everything), 1.0, 255)
        assert targets.any()
        words, targets = draw_words(samples(WORDS[:4], nothing), 0.0, 255)
        assert words[0] in WORDS[:4]
        assert not targets.any()

    def test_samples_without_words(self) -> None:
        with pytest.raises(ConfigError, match='data sample 0 of the batch carries no vocabulary'):
            draw_words(samples(None, quadrants()), 0.2, 255)


class TestLoss:
    def test_is_binary_cross_entropy_over_labelled_pixels(self) -> None:
        model, labels = a_model().eval(), quadrants()
        labels[:, :10] = 255
        torch.manual_seed(3)
        found = model.loss(images(), samples(WORDS, labels))['decode.loss_mask']
        torch.manual_seed(3)
        words, targets = draw_words(samples(WORDS, labels), 0.2, 255)
        rows = torch.stack([HashBank.vector(word) for word in words])
        logits_BKHW = model.decode_head(model.extract_feat(images()), rows)
        logits_BHW = torch.stack([logits_BKHW[0, 0], logits_BKHW[1, 1]])
        known = targets != 255
        expected = functional.binary_cross_entropy_with_logits(logits_BHW[known], targets[known].float())
        torch.testing.assert_close(found, expected)

    def test_nothing_labelled(self) -> None:
        model = a_model().train()
        loss = model.loss(images(), samples(WORDS, torch.full((2, SIZE, SIZE), 255)))['decode.loss_mask']
        loss.backward()
        assert loss.item() == 0
        assert all(p.grad is None or not p.grad.any() for p in model.parameters())

    def test_uses_drawn_rows_where_the_bank_has_them(self) -> None:
        model = a_model().eval()
        asked: list[str] = []

        class Drawing(HashBank):
            def draw(self, words: list[str]) -> torch.Tensor:
                asked.extend(words)
                return torch.stack([self.vector(word) for word in words])

        model.text_bank = Drawing()
        model.loss(images(), samples(WORDS, quadrants()))
        assert len(asked) == 2

    def test_wrong_probability(self) -> None:
        with pytest.raises(ConfigError, match='negatives=2'):
            a_model(negatives=2)


def test_tensor_mode_needs_words() -> None:
    model = a_model().eval()
    assert model(images(), samples(WORDS, quadrants()), mode='tensor').shape == (2, 6, SIZE, SIZE)
    with pytest.raises(ConfigError, match='names no vocabulary'):
        model(images(), mode='tensor')
