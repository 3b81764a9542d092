"""`SideAdapterSegmentor` against mmseg's ``MultimodalEncoderDecoder`` with the same weights and text rows, to 1e-4."""

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from recipe_parts import add_tiny_clip
from side_adapter_parts import FEW, MORE, classifier, labels, mmsegs, ours, pair, parts, pictures, samples
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.checkpoints import load_state
from vlm_dense.errors import CheckpointError, ConfigError, DataError
from vlm_dense.registry import MODELS
from vlm_dense.vlms import BiasedTail, OpenClipTower

CLOSE = dict(rtol=1e-4, atol=1e-4)


@torch.no_grad()
def scores(model: nn.Module, images_B3HW: Tensor, given: list) -> Tensor:
    found = model.predict(images_B3HW, copy.deepcopy(given))
    for sample in found:
        assert torch.equal(sample.pred_sem_seg.data[0], sample.seg_logits.data.argmax(0))
    return torch.stack([sample.seg_logits.data for sample in found])


def test_masks_and_logits() -> None:
    model, theirs = pair()
    images_B3HW = pictures(64, 96)
    with torch.no_grad():
        taps = theirs.image_encoder(functional.interpolate(images_B3HW, scale_factor=0.5, mode='bilinear'))
        masks, logits = theirs.decode_head.forward([images_B3HW, taps, theirs.text_encoder()], [])
        found_logits, found_masks = model(images_B3HW, samples(FEW, labels(3, 64, 96)), mode='tensor')
        embed_BND, same_masks = model(images_B3HW, mode='tensor')
    torch.testing.assert_close(found_masks, masks[-1], **CLOSE)
    torch.testing.assert_close(found_logits, logits[-1], **CLOSE)
    assert torch.equal(same_masks, found_masks)
    torch.testing.assert_close(embed_BND.norm(dim=2), torch.ones(2, 7))


WINDOWS = dict(mode='slide', crop_size=(64, 64), stride=(32, 48))


@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), WINDOWS], ids=['whole', 'slide'])
def test_score_maps(test_cfg: dict) -> None:
    model, theirs = pair()
    theirs.test_cfg = ConfigDict(test_cfg)
    model.test_cfg = dict(test_cfg, keep_scores=True)
    images_B3HW = pictures(96, 128)
    given = samples(FEW, labels(3, 96, 128), ori_shape=(150, 170))
    expected = scores(theirs, images_B3HW, given)
    assert expected.shape == (2, 3, 150, 170)
    torch.testing.assert_close(scores(model, images_B3HW, given), expected, **CLOSE)


def test_padding_as_mmseg_pads_a_picture_alone() -> None:
    model, theirs = pair()
    images_B3HW = functional.pad(pictures(70, 90), (0, 6, 0, 26))
    meta = dict(ori_shape=(140, 180), img_shape=(70, 90), pad_shape=(96, 96), img_padding_size=(0, 6, 0, 26))
    given = samples(FEW, labels(3, 96, 96), **meta)
    torch.testing.assert_close(scores(model, images_B3HW, given), scores(theirs, images_B3HW, given), **CLOSE)


@pytest.mark.parametrize('words', [FEW, MORE], ids=len)
def test_losses_and_gradients(words: Sequence[str]) -> None:
    model, theirs = pair(words)
    images_B3HW = pictures(64, 96)
    given = samples(words, labels(len(words), 64, 96))
    results = []
    for one in (model.train(), theirs.train()):
        torch.manual_seed(3)  # the same points
        losses = one.loss(images_B3HW, given)
        one.parse_losses(losses)[0].backward()
        results.append(losses)
    assert len(results[1]) == 6
    assert results[0].keys() == results[1].keys()
    for name, expected in results[1].items():
        torch.testing.assert_close(results[0][name], expected, **CLOSE)
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    expected['decode_head.classifier.extra.learned_ED'] = expected.pop('text_encoder.bg_embed', None)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert 'image_encoder.pos_embed' in found
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], **CLOSE)


def test_a_batch_without_labels_has_a_loss() -> None:
    model = pair()[0].train()
    losses = model.loss(pictures(64, 96), samples(FEW, torch.full((2, 64, 96), 255)))
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    assert losses['decode.loss_mask_ce'] == 0


def test_losses_in_half_precision() -> None:
    model = pair()[0].train()
    given = samples(FEW, labels(3, 64, 96))
    results = []
    for half in (False, True):
        torch.manual_seed(3)
        with torch.autocast('cpu', torch.bfloat16, enabled=half):
            results.append(model.parse_losses(model.loss(pictures(64, 96), given))[0])
    assert results[1].dtype == torch.float32
    torch.testing.assert_close(results[1], results[0], rtol=0.05, atol=0)


def test_one_model_asked_for_other_words_keeps_nothing_of_any() -> None:
    model = pair()[0]
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    plain = dict(vars(model.decode_head.match_masks))
    many = [f'word {number}' for number in range(200)]
    for words in (FEW, many, MORE):
        size = scores(model, pictures(64, 96, batch=1), samples(words, labels(3, 64, 96, batch=1))).shape
        assert size == (1, len(words), 64, 96)
        losses = model.loss(pictures(64, 96), samples(words, labels(3, 64, 96)))
        assert all(loss.isfinite() for loss in losses.values())
    assert vars(model.decode_head.match_masks) == plain
    assert not hasattr(model.decode_head, 'num_classes')
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert [name for name in after if 'text' in name] == []


def test_order_of_words_permutes_the_maps() -> None:
    model = pair()[0]
    images_B3HW, maps_BHW = pictures(64, 96), labels(3, 64, 96)
    there = scores(model, images_B3HW, samples(MORE, maps_BHW))
    back = scores(model, images_B3HW, samples(MORE[::-1], maps_BHW))
    torch.testing.assert_close(back.flip(1), there, rtol=1e-5, atol=1e-6)
    losses = []
    for words, wanted in ((FEW, maps_BHW), (FEW[::-1], torch.where(maps_BHW == 255, 255, 2 - maps_BHW))):
        torch.manual_seed(3)
        losses.append(model.loss(images_B3HW, samples(words, wanted)))
    for name, loss in losses[0].items():
        torch.testing.assert_close(losses[1][name], loss, rtol=1e-5, atol=1e-6)


def test_truth_of_unseen_words_teaches_nothing() -> None:
    model = pair()[0]
    maps_BHW = labels(5, 64, 96)
    exchanged = maps_BHW.clone()
    exchanged[maps_BHW == 3], exchanged[maps_BHW == 4] = 4, 3
    assert not torch.equal(exchanged, maps_BHW)
    losses = []
    for wanted in (maps_BHW, exchanged):
        torch.manual_seed(3)
        losses.append(model.loss(pictures(64, 96), samples(MORE, wanted, base=FEW)))
    assert all(torch.equal(losses[1][name], loss) for name, loss in losses[0].items())


def test_pictures_of_other_sizes_in_a_batch_change_nothing() -> None:
    model = pair()[0]
    sizes = ((64, 96), (33, 70))
    one = [pictures(*size, batch=1) for size in sizes]
    blank = [samples(FEW, torch.zeros(1, *size)) for size in sizes]
    alone = [scores(model, *asked)[0] for asked in zip(one, blank, strict=True)]
    given, padded = [], []
    for image_13hw, (height, width) in zip(one, sizes, strict=True):
        room = (0, 96 - width, 0, 64 - height)
        padded.append(functional.pad(image_13hw, room, value=9.0))
        given += samples(FEW, torch.zeros(1, height, width), img_padding_size=room)
    with torch.no_grad():
        found = model.predict(torch.cat(padded), given)
    for sample, expected in zip(found, alone, strict=True):
        assert sample.vocabulary.words == FEW
        torch.testing.assert_close(sample.seg_logits.data, expected, **CLOSE)


def test_a_label_that_is_no_word() -> None:
    model = pair()[0]
    with pytest.raises(DataError, match='a label map holds 4'):
        model.loss(pictures(64, 96), samples(FEW, torch.full((2, 64, 96), 4)))


@pytest.mark.parametrize('change', [dict(void=None), dict(background='learned')], ids=str)
def test_a_classifier_without_void_or_with_background(change: dict) -> None:
    settings = parts()['decode_head'] | dict(type='vlm_dense.OVSideAdapterHead', classifier=classifier() | change)
    with pytest.raises(ConfigError, match="needs background=None and void='learned'"):
        MODELS.build(settings)


def test_mmsegs_checkpoint_loads(tmp_path: Path) -> None:
    theirs = mmsegs(FEW)
    torch.save(dict(state_dict=theirs.state_dict()), tmp_path / 'san.pth')
    model = ours()
    coverage = load_state(model, tmp_path / 'san.pth', strict=True)
    assert coverage.unexpected == ()
    assert torch.equal(model.decode_head.classifier.extra.learned_ED, theirs.text_encoder.bg_embed)
    with pytest.raises(CheckpointError, match=r'multiplies cosines by 14\.29, the model by 100\.00; set'):
        load_state(ours(temperature=0.01), tmp_path / 'san.pth')


def tiny_clip() -> str:
    return add_tiny_clip('side-adapter', image_size=64, layers=5, width=128, head_width=64, patch_size=16)


def test_a_training_starts_with_clip() -> None:
    """First and last blocks together are the tower, and the copies of its class token `BiasedTail`'s."""
    tower = OpenClipTower(tiny_clip(), taps=(0, 1, 2)).eval()
    torch.manual_seed(0)
    settings = parts(width=128)
    settings['decode_head']['maskgen_cfg']['out_dims'] = tower.embed_dim
    settings['decode_head'] |= dict(type='vlm_dense.OVSideAdapterHead', classifier=classifier(tower.embed_dim))
    model = MODELS.build(
        dict(
            type='vlm_dense.SideAdapterSegmentor',
            text_bank=dict(type='vlm_dense.HashedBank'),
            encoder_resolution=1.0,
            clip=dict(type='vlm_dense.OpenClipTower', name=tiny_clip()),
            **settings,
        )
    )
    model.init_weights()
    model.eval()
    images_B3HW = pictures(64, 64)
    bias_BHNhw = torch.randn(2, 2, 7, 8, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        taps = model.extract_feat(images_B3HW)[1]
        expected = tower.class_token_pyramid(images_B3HW)
        for found, wanted in zip(taps[1:], expected, strict=True):
            torch.testing.assert_close(found[0], wanted[0], **CLOSE)
            torch.testing.assert_close(found[1], wanted[1], **CLOSE)
        copies_BND = model.decode_head.rec_with_attnbias([bias_BHNhw], taps[-1])
        torch.testing.assert_close(copies_BND, BiasedTail(tower, after=2)(*expected[-1], bias_BHNhw), **CLOSE)


def test_clip_of_another_architecture() -> None:
    model = ours(clip=dict(type='vlm_dense.OpenClipTower', name=tiny_clip()), width=128)
    with pytest.raises(CheckpointError, match=r'model\.clip does not fit image_encoder and decode_head\.maskgen_cfg'):
        model.init_weights()
