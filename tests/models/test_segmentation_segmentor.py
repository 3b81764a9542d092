"""The open-vocabulary encoder-decoder: words in, labels of these words out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from segmentation_parts import SIZE, HashBank, images, keep_scores, quadrants, samples, tiny_segmentor
from torch.nn import functional

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models.decode_heads.ov_decode_head import pick_labels
from vlm_dense.models.segmentors.ov_encoder_decoder import windows

WORDS = ['cat', 'dog', 'tree', 'sky']
OTHER_WORDS = ['lamp', 'cat', 'violin', 'ship', 'brick', 'sky', 'shoe']


def logits_of(model: torch.nn.Module, words: list[str], inputs: torch.Tensor | None = None) -> torch.Tensor:
    inputs = images() if inputs is None else inputs
    keep_scores(model)
    with torch.no_grad():
        found = model.predict(inputs, samples(words, torch.zeros(len(inputs), *inputs.shape[-2:], dtype=torch.long)))
    return torch.stack([sample.seg_logits.data for sample in found])


@pytest.mark.parametrize('background', [None, 'learned'])
def test_logits_equal_numpy(background: str | None) -> None:
    model = tiny_segmentor(background, upsample=1).eval()
    with torch.no_grad():
        features = model.extract_feat(images())
        dense = model.decode_head.embed(features).dense_BDhw.numpy().astype(np.float64)
        found = model(images(), samples(WORDS, quadrants()), mode='tensor').numpy()
    rows = [HashBank.vector(word).numpy() for word in WORDS]
    if background:
        vector = model.decode_head.classifier.extra.learned_ED.detach()[0].numpy()
        rows.append(vector / np.linalg.norm(vector))
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    expected = np.einsum('bdhw,kd->bkhw', dense, np.stack(rows).astype(np.float64)) / 0.07
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_loss_is_cross_entropy_over_labelled_pixels() -> None:
    # Batch norm would see the batch again in training mode.
    model = tiny_segmentor().eval()
    labels = quadrants()
    labels[:, :10] = 255
    asked = samples(WORDS, labels)
    found = model.loss(images(), asked)['decode.loss_ce']
    logits = functional.interpolate(
        model(images(), asked, mode='tensor'), (SIZE, SIZE), mode='bilinear', align_corners=True
    )
    log_p = functional.log_softmax(logits.double(), 1).permute(0, 2, 3, 1)[labels != 255]
    expected = -log_p.gather(1, labels[labels != 255][:, None]).mean()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_ignored_pixels_give_no_loss_and_no_gradient() -> None:
    model = tiny_segmentor().train()
    losses = model.loss(images(), samples(WORDS, torch.full((2, SIZE, SIZE), 255)))
    assert losses['decode.loss_ce'].item() == 0
    losses['decode.loss_ce'].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize('loss_size', ['labels', 'logits'])
def test_an_ignored_half_counts_as_if_it_were_not_there(loss_size: str) -> None:
    model = tiny_segmentor(loss_size=loss_size, ignore_index=7).eval()
    labels = quadrants()
    labels[:, : SIZE // 2] = 7
    found = model.loss(images(), samples(WORDS, labels))['decode.loss_ce']
    logits = model.decode_head.resize(model(images(), samples(WORDS, labels), mode='tensor'), (SIZE, SIZE))
    expected = functional.cross_entropy(logits[:, :, SIZE // 2 :], labels[:, SIZE // 2 :])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('scale', [2, 4])
def test_labels_are_picked_at_the_centres_of_cells(scale: int) -> None:
    labels = torch.randint(0, 5, (1, 12, 12))
    picked = pick_labels(labels, (12 // scale, 12 // scale))
    assert torch.equal(picked, labels[:, scale // 2 :: scale, scale // 2 :: scale])


def test_label_without_a_column_is_refused() -> None:
    model = tiny_segmentor().train()
    with pytest.raises(DataError, match='holds 4, but the words'):
        model.loss(images(), samples(WORDS, quadrants() + 1))


def test_background_is_the_last_label() -> None:
    model = tiny_segmentor('learned').train()
    losses = model.loss(images(), samples(WORDS, torch.full((2, SIZE, SIZE), len(WORDS))))
    assert losses['decode.loss_ce'].isfinite()
    assert logits_of(model.eval(), WORDS).shape[1] == len(WORDS) + 1


def test_words_of_every_number_need_no_change() -> None:
    model = tiny_segmentor('learned').eval()
    few, many = logits_of(model, WORDS), logits_of(model, OTHER_WORDS)
    assert few.shape == (2, 5, SIZE, SIZE)
    assert many.shape == (2, 8, SIZE, SIZE)
    torch.testing.assert_close(few[:, 0], many[:, 1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(few[:, -1], many[:, -1], atol=1e-5, rtol=1e-5)


def test_permuting_words_permutes_channels() -> None:
    model = tiny_segmentor('learned').eval()
    order = [3, 1, 0, 2]
    plain, permuted = logits_of(model, WORDS), logits_of(model, [WORDS[i] for i in order])
    torch.testing.assert_close(permuted, plain[:, [*order, 4]], atol=1e-5, rtol=1e-5)


def test_predictions_keep_the_words_and_the_original_size() -> None:
    model = tiny_segmentor(test_cfg=dict(mode='whole', keep_scores=True)).eval()
    asked = samples(OTHER_WORDS, torch.zeros(1, 50, 70, dtype=torch.long))
    with torch.no_grad():
        (found,) = model.predict(images(1), asked)
    assert found.vocabulary.words == tuple(OTHER_WORDS)
    assert found.pred_sem_seg.data.shape == (1, 50, 70)
    assert found.seg_logits.data.shape == (len(OTHER_WORDS), 50, 70)
    assert torch.equal(found.pred_sem_seg.data[0], found.seg_logits.data.argmax(0))


def test_missing_words_are_named_with_the_remedy() -> None:
    model = tiny_segmentor().eval()
    with pytest.raises(ConfigError, match='AttachVocabulary'):
        model.predict(images(), samples(None, quadrants()))
    with pytest.raises(ConfigError, match='vocabulary'):
        model.predict(images())


def test_slide_equals_whole_when_one_window_covers() -> None:
    whole = tiny_segmentor('learned').eval()
    slide = tiny_segmentor('learned', test_cfg=dict(mode='slide', crop_size=(96, 96), stride=(64, 64))).eval()
    slide.load_state_dict(whole.state_dict())
    torch.testing.assert_close(logits_of(slide, WORDS), logits_of(whole, WORDS), atol=0, rtol=0)


def test_slide_averages_overlapping_windows() -> None:
    inputs = images(1, 64, 96)
    model = tiny_segmentor(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(64, 32))).eval()
    found = logits_of(model, OTHER_WORDS, inputs)
    model.test_cfg = dict(mode='whole')
    left, right = logits_of(model, OTHER_WORDS, inputs[..., :64]), logits_of(model, OTHER_WORDS, inputs[..., 32:])
    torch.testing.assert_close(found[..., :32], left[..., :32], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[..., 32:64], (left[..., 32:] + right[..., :32]) / 2, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[..., 64:], right[..., 32:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(('size', 'crop', 'stride'), [((100, 70), (40, 40), (30, 17)), ((30, 90), (40, 40), (40, 40))])
def test_windows_cover_every_pixel_and_stay_inside(size: tuple, crop: tuple, stride: tuple) -> None:
    count = np.zeros(size, int)
    for rows, columns in windows(size, crop, stride):
        patch = count[rows, columns]
        assert patch.shape == (min(crop[0], size[0]), min(crop[1], size[1]))
        patch += 1
    assert count.min() >= 1


def test_a_stride_that_leaves_gaps_is_refused() -> None:
    with pytest.raises(ConfigError, match='stride'):
        list(windows((100, 100), (40, 40), (50, 40)))


def test_an_unknown_mode_is_refused() -> None:
    model = tiny_segmentor(test_cfg=dict(mode='slde')).eval()
    with pytest.raises(ConfigError, match="'slde'"):
        logits_of(model, WORDS)


def test_state_dict_holds_neither_words_nor_scale() -> None:
    model = tiny_segmentor()
    before = set(model.state_dict())
    logits_of(model.eval(), WORDS)
    assert set(model.state_dict()) == before
    assert not [key for key in before if 'text' in key or 'scale' in key or 'temperature' in key]
    assert {key.split('.')[0] for key in before} == {'backbone', 'decode_head'}


def test_saved_and_loaded_gives_the_same(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = tiny_segmentor('learned').eval()
    twin = tiny_segmentor('learned').eval()
    save_file(model.state_dict(), tmp_path / 'weights.safetensors')
    twin.load_state_dict(load_file(tmp_path / 'weights.safetensors'))
    assert torch.equal(logits_of(twin, OTHER_WORDS), logits_of(model, OTHER_WORDS))


def test_every_parameter_learns_and_a_step_lowers_the_loss() -> None:
    model = tiny_segmentor('learned').train()
    labels = quadrants(num_labels=5)
    labels[:, :8] = len(WORDS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    history = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model.loss(images(), samples(WORDS, labels))['decode.loss_ce']
        loss.backward()
        history.append(loss.item())
        optimizer.step()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The bias of an attention's keys shifts all scores of a query alike.
    assert not [name for name in silent if 'in_proj_bias' not in name]
    assert history[-1] < history[0]


def test_tensor_mode_without_words_gives_embeddings() -> None:
    model = tiny_segmentor().eval()
    with torch.no_grad():
        assert model(images(), mode='tensor').shape == (2, 12, 32, 32)
