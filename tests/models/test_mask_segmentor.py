"""The segmentor that names masks, against its parts put together by hand."""

import pytest
import torch
from mask_head_parts import classifier
from mask_model_parts import WORDS, crops, picture, seg_sample, segmentor, stripes, words
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models import WordRows
from vlm_dense.models.segmentors.ov_encoder_decoder import windows
from vlm_dense.text.vocabulary import Vocabulary

SIZES = ((64, 96), (70, 50), (64, 96))
ORIGINAL = (50, 61)
SLIDE = dict(mode='slide', crop_size=(48, 64), stride=(32, 48))
DIVISOR = 32
SYNONYMS = dict(synonyms=[('emmet', 'pismire'), (), ('heaven',), ()])


def resized(maps_SHW: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps_SHW[None], size, mode='bilinear')[0]


def by_hand(model: nn.Module, image_3HW: Tensor, vocabulary: Vocabulary) -> Tensor:
    """(K, H, W) of one normalised picture without region encoder: softmax without void, summed over masks."""
    height, width = image_3HW.shape[1:]
    whole_13HW = functional.pad(image_3HW[None], (0, -width % DIVISOR, 0, -height % DIVISOR))
    field = tuple(whole_13HW.shape[2:])
    embed_BND, mask_BNhw = model.decode_head.segments(model.backbone(whole_13HW), field, [(height, width)])
    rows = WordRows(model.text_bank(vocabulary), torch.tensor(vocabulary.is_base))
    prob_NK = model.decode_head.logits(embed_BND, rows)[0].softmax(dim=1)[:, :-1]
    mask_NHW = resized(mask_BNhw[0], field).sigmoid()[:, :height, :width]
    return torch.einsum('nk,nhw->khw', prob_NK, mask_NHW)


def asked(model: nn.Module, pictures: list[Tensor], vocabulary: Vocabulary, **meta: object) -> list:
    samples = [seg_sample(torch.zeros(one.shape[1:]), vocabulary, ORIGINAL) for one in pictures]
    for sample in samples:
        sample.set_metainfo(meta)
    batch = dict(inputs=pictures, data_samples=samples)
    with torch.no_grad():
        if len(pictures) == 1:
            return model.test_step(batch)
        # In testing mode mmseg refuses mixed sizes; the padding is the same.
        return model(**model.data_preprocessor(batch, True), mode='predict')


def normalised(model: nn.Module, one: Tensor) -> Tensor:
    preprocessor = model.data_preprocessor
    return (one.flip(0).float() - preprocessor.mean.view(3, 1, 1)) / preprocessor.std.view(3, 1, 1)


@pytest.mark.parametrize('kind', ['MaskFormer', 'Mask2Former'])
@pytest.mark.parametrize('mode', ['whole', 'slide'])
@torch.no_grad()
def test_labels_and_scores_are_those_of_the_definition(kind: str, mode: str) -> None:
    model = segmentor(dict(SLIDE if mode == 'slide' else {}, keep_scores=True), kind)
    image_3HW, vocabulary = normalised(model, picture(64, 96)), words()
    if mode == 'whole':
        expected_KHW = by_hand(model, image_3HW, vocabulary)
    else:
        sums_KHW, count_HW = torch.zeros(4, 64, 96), torch.zeros(64, 96)
        for rows, columns in windows((64, 96), SLIDE['crop_size'], SLIDE['stride']):
            sums_KHW[:, rows, columns] += by_hand(model, image_3HW[:, rows, columns], vocabulary)
            count_HW[rows, columns] += 1
        expected_KHW = sums_KHW / count_HW
    found = asked(model, [picture(64, 96)], vocabulary)[0]
    torch.testing.assert_close(found.seg_logits.data, resized(expected_KHW, ORIGINAL), rtol=1e-4, atol=1e-5)
    assert torch.equal(found.pred_sem_seg.data[0], found.seg_logits.data.argmax(dim=0))
    assert found.vocabulary == vocabulary


def test_a_mirrored_picture_is_answered_upright() -> None:
    model = segmentor(dict(keep_scores=True))
    plain = asked(model, [picture(64, 96)], words())[0]
    mirrored = asked(model, [picture(64, 96)], words(), flip=True, flip_direction='horizontal')[0]
    torch.testing.assert_close(mirrored.seg_logits.data.flip(-1), plain.seg_logits.data, rtol=0, atol=1e-5)


@pytest.mark.parametrize('reads', [False, True])
def test_pictures_of_a_batch_are_answered_as_if_alone(reads: bool) -> None:
    model = segmentor(dict(keep_scores=True), **(crops() if reads else {}))
    pictures = [picture(*size, seed) for seed, size in enumerate(SIZES)]
    together = asked(model, pictures, words())
    for one, found in zip(pictures, together, strict=True):
        alone = asked(model, [one], words())[0]
        torch.testing.assert_close(found.seg_logits.data, alone.seg_logits.data, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_region_encoder_has_its_say() -> None:
    model = segmentor(dict(keep_scores=True), **crops(), region_bank=dict(type='vlm_dense.HashNames'))
    own = segmentor(dict(keep_scores=True))
    assert sorted(model.state_dict()) == sorted(own.state_dict())
    own.load_state_dict(model.state_dict())
    vocabulary, one = words(), picture(64, 96)
    features = model.backbone(normalised(model, one)[None])
    embed_BND, mask_BNhw = model.decode_head.segments(features, (64, 96))
    rows = WordRows(model.text_bank(vocabulary), torch.tensor(vocabulary.is_base))
    own_NK = model.decode_head.logits(embed_BND, rows)[0].softmax(dim=1)[:, :-1]
    region = model.regions(one.flip(0)[None].float(), model.backbone, features, mask_BNhw)
    region_NK = (20 * region.region_BND[0] @ rows.text_KD.t()).softmax(dim=1)
    power_K = torch.where(rows.is_base_K, 0.3, 0.6)
    score_NK = own_NK ** (1 - power_K) * region_NK**power_K
    mask_NHW = resized(mask_BNhw[0], (64, 96)).sigmoid()
    expected_KHW = resized(torch.einsum('nk,nhw->khw', score_NK, mask_NHW), ORIGINAL)
    found = asked(model, [one], vocabulary)[0].seg_logits.data
    torch.testing.assert_close(found, expected_KHW, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(found, asked(own, [one], vocabulary)[0].seg_logits.data, atol=1e-3)


def test_order_of_words_changes_indices_only() -> None:
    model = segmentor(dict(keep_scores=True, seen_penalty=0.1), **crops(seen_mean=True, void='shared'))
    one = asked(model, [picture(64, 96)], words())[0].seg_logits.data
    other = asked(model, [picture(64, 96)], words(*WORDS[::-1], base=WORDS[:3]))[0].seg_logits.data
    torch.testing.assert_close(one, other.flip(0), rtol=1e-4, atol=1e-5)


def test_background_and_threshold_have_the_label_after_the_words() -> None:
    model = segmentor(dict(keep_scores=True), head=dict(classifier=classifier(background='learned')))
    assert asked(model, [picture(64, 96)], words())[0].seg_logits.data.shape[0] == 5
    model = segmentor(dict(background_threshold=1e9))
    assert (asked(model, [picture(64, 96)], words())[0].pred_sem_seg.data == 4).all()


def test_maps_are_summed_in_full_precision_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    model, vocabulary = segmentor(dict(keep_scores=True), **crops()), words()
    kept = []
    monkeypatch.setattr(
        model, 'encode_decode', lambda *given: kept.append(type(model).encode_decode(model, *given)) or kept[-1]
    )
    with torch.autocast('cpu', torch.bfloat16):
        found = asked(model, [picture(64, 96)], vocabulary)[0].seg_logits.data
    score_BNK, mask_BNhw = kept[0]
    assert score_BNK.dtype == mask_BNhw.dtype == found.dtype == torch.float32
    mask_NHW = resized(mask_BNhw[0], (64, 96)).sigmoid()
    expected_KHW = resized(torch.einsum('nk,nhw->khw', score_BNK[0], mask_NHW), ORIGINAL)
    torch.testing.assert_close(found, expected_KHW, rtol=1e-4, atol=1e-5)


def loss_of(model: nn.Module, maps: list[Tensor], vocabulary: Vocabulary) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model.train()
    samples = [seg_sample(labels_HW, vocabulary) for labels_HW in maps]
    pictures = [picture(*labels_HW.shape, seed) for seed, labels_HW in enumerate(maps)]
    return model(**model.data_preprocessor(dict(inputs=pictures, data_samples=samples), True), mode='loss')


@pytest.mark.parametrize('kind', ['MaskFormer', 'Mask2Former'])
def test_losses_of_mixed_sizes_reach_every_parameter(kind: str) -> None:
    model = segmentor(kind=kind)
    losses = loss_of(model, [stripes(*size) for size in SIZES], words())
    assert {'decode.loss_cls', 'decode.loss_mask', 'decode.loss_dice', 'decode.d0.loss_cls'} <= set(losses)
    total, _ = model.parse_losses(losses)
    total.backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert total.isfinite()


def test_labels_of_unseen_words_change_no_loss() -> None:
    model, vocabulary = segmentor(), words(*WORDS, base=WORDS[:2])
    losses = [
        loss_of(model, [stripes(64, 96, labels)], vocabulary)
        for labels in ((0, 1, 2, 255), (0, 1, 3, 255), (0, 1, 255, 255), (0, 1, 0, 255))
    ]
    totals = [sum(value.item() for name, value in one.items() if 'loss' in name) for one in losses]
    assert totals[0] == totals[1] == totals[2] != totals[3]


@torch.no_grad()
def test_a_word_is_as_near_as_its_best_name() -> None:
    model, vocabulary = segmentor(dict(keep_scores=True), synonyms='max', **crops()), words(**SYNONYMS)
    names_SD, word_of_S = model.text_bank.rows_of_names(vocabulary)
    features = model.backbone(normalised(model, picture(64, 96))[None])
    embed_BND, mask_BNhw = model.decode_head.segments(features, (64, 96))
    named = model.encode_decode(
        normalised(model, picture(64, 96))[None],
        *model.request([seg_sample(stripes(64, 96), vocabulary)], torch.device('cpu')),
    )
    rows = WordRows(names_SD, torch.ones(7, dtype=torch.bool))
    own_NS = model.decode_head.logits(embed_BND, rows)[0]
    region = model.regions(picture(64, 96).flip(0)[None].float(), model.backbone, features, mask_BNhw)
    region_NS = 20 * region.region_BND[0] @ names_SD.t()
    best = [
        torch.stack([one[:, :7][:, word_of_S == word].amax(dim=1) for word in range(4)], 1)
        for one in (own_NS, region_NS)
    ]
    own_NK = torch.cat([best[0], own_NS[:, 7:]], dim=1).softmax(dim=1)[:, :4]
    power_K = torch.tensor([0.3, 0.3, 0.3, 0.6])
    expected_NK = own_NK ** (1 - power_K) * best[1].softmax(dim=1) ** power_K
    torch.testing.assert_close(named.score_BNK[0], expected_NK, rtol=1e-3, atol=1e-6)


def test_names_count_in_training_too() -> None:
    model, maps = segmentor(synonyms='max'), [stripes(64, 96)]
    plain = segmentor()
    assert loss_of(model, maps, words()) == loss_of(plain, maps, words())
    named = loss_of(model, maps, words(**SYNONYMS))
    assert named['decode.loss_cls'] != loss_of(plain, maps, words())['decode.loss_cls']
    assert named['decode.loss_cls'].isfinite()


def test_mistakes_are_named() -> None:
    for more, part in (
        (dict(fusion=crops()['fusion']), 'belong together'),
        (dict(regions=crops()['regions']), 'belong together'),
        (dict(synonyms='mean'), "synonyms='mean'"),
        (dict(head=dict(classifier=classifier(embed_dim=13))), 'set embed_dim=12'),
    ):
        with pytest.raises(ConfigError, match=part):
            segmentor(**more)
    with pytest.raises(DataError, match='holds 9'):
        loss_of(segmentor(), [stripes(64, 96, (0, 9))], words())
    with pytest.raises(ConfigError, match='ignore_index=4'):
        loss_of(segmentor(ignore_index=4), [stripes(64, 96)], words())
