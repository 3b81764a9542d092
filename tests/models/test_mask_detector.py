"""The detector that names masks: its parts put together by hand, mmdet's decoding and mmdet's truths."""

import pytest
import torch
from mask_model_parts import WORDS, crops, det_sample, detector, network, picture, stripes, words
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.models.utils import preprocess_panoptic_gt
from mmengine import ConfigDict
from mmengine.structures import InstanceData, PixelData
from recipe_parts import HashedBank, tiny_clip_resnet
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models import WordRows
from vlm_dense.text.vocabulary import Vocabulary

SIZES = ((64, 96), (70, 50), (64, 96))
ORIGINAL = (50, 61)
ALL = dict(instance_on=True, panoptic_on=True, semantic_on=True, object_mask_thr=0.0, iou_thr=0.3, max_per_image=20)
THINGS = dict(is_thing=(True, True, False, False))


def asked(model: nn.Module, pictures: list[Tensor], vocabulary: Vocabulary) -> list:
    samples = [det_sample(stripes(*one.shape[1:]), vocabulary, ORIGINAL) for one in pictures]
    with torch.no_grad():
        return model.test_step(dict(inputs=pictures, data_samples=samples))


@pytest.mark.parametrize('kind', ['MaskFormer', 'Mask2Former'])
@torch.no_grad()
def test_predictions_are_those_of_mmdet_for_the_same_masks(kind: str) -> None:
    model, vocabulary = detector(ALL, kind), words(**THINGS)
    found = asked(model, [picture(70, 50)], vocabulary)[0]
    inputs_13HW = model.data_preprocessor(dict(inputs=[picture(70, 50)], data_samples=[found]), False)['inputs']
    assert inputs_13HW.shape[2:] == (96, 64)
    features = model.backbone(inputs_13HW)
    embed_BND, mask_BNhw = model.mask_head.segments(features, (96, 64), [(70, 50)])
    rows = WordRows(model.text_bank(vocabulary), torch.tensor(vocabulary.is_base))
    logits_BNK1 = model.mask_head.logits(embed_BND, rows)
    mask_BNHW = functional.interpolate(mask_BNhw, (96, 64), mode='bilinear')
    theirs = MaskFormerFusionHead(2, 2, test_cfg=ConfigDict(ALL, semantic_on=False))
    expected = theirs.predict(logits_BNK1, mask_BNHW, [found], rescale=True)[0]
    panoptic_HW = found.pred_panoptic_seg.sem_seg[0]
    assert panoptic_HW.shape == ORIGINAL
    assert (panoptic_HW == expected['pan_results'].sem_seg[0]).float().mean() > 0.999
    order = expected['ins_results'].scores.argsort(descending=True)
    got, want = found.pred_instances, expected['ins_results'][order]
    torch.testing.assert_close(got.scores, want.scores, rtol=1e-3, atol=1e-5)
    assert set(got.labels.tolist()) == {0, 1}
    assert len(got.bboxes) == len(got.masks) == len(want)
    prob_NHW = functional.interpolate(mask_BNHW[..., :70, :50], ORIGINAL, mode='bilinear')[0].sigmoid()
    maps_KHW = torch.einsum('nk,nhw->khw', logits_BNK1[0].softmax(dim=1)[:, :-1], prob_NHW)
    assert (found.pred_sem_seg.data[0] == maps_KHW.argmax(dim=0)).float().mean() > 0.999


@pytest.mark.parametrize('reads', [False, True])
def test_pictures_of_a_batch_are_answered_as_if_alone(reads: bool) -> None:
    model = detector(ALL, **(crops() if reads else {}))
    pictures = [picture(*size, seed) for seed, size in enumerate(SIZES)]
    for one, found in zip(pictures, asked(model, pictures, words()), strict=True):
        alone = asked(model, [one], words())[0]
        torch.testing.assert_close(found.pred_instances.scores, alone.pred_instances.scores, rtol=1e-3, atol=1e-5)
        for name, part in (('pred_panoptic_seg', 'sem_seg'), ('pred_sem_seg', 'data')):
            assert (found.get(name).get(part) == alone.get(name).get(part)).float().mean() > 0.999


def test_words_nobody_calls_stuff_are_things() -> None:
    model = detector(dict(max_per_image=1000))
    found = asked(model, [picture(64, 96)], words())[0]
    assert set(found.pred_instances.labels.tolist()) == {0, 1, 2, 3}
    assert 'pred_panoptic_seg' not in found
    assert 'pred_sem_seg' not in found
    counted = asked(model, [picture(64, 96)], words(**THINGS))[0]
    assert set(counted.pred_instances.labels.tolist()) == {0, 1}


def test_order_of_words_changes_indices_only() -> None:
    model = detector(dict(max_per_image=1000), **crops(void='factor', empty='own'))
    one = asked(model, [picture(64, 96)], words())[0].pred_instances
    other = asked(model, [picture(64, 96)], words(*WORDS[::-1], base=WORDS[:3]))[0].pred_instances
    for word in range(4):
        scores, again = one.scores[one.labels == word], other.scores[other.labels == 3 - word]
        torch.testing.assert_close(scores, again, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_masks_are_read_from_the_map_of_the_backbone() -> None:
    tower = dict(type='vlm_dense.OpenClipTower', name=tiny_clip_resnet(), pretrained=None)
    _, mask_head = network()
    model = detector(
        backbone=dict(type='vlm_dense.TowerBackbone', tower=tower),
        mask_head={**mask_head, 'in_channels': [64, 128, 256, 512]},
        regions=dict(type='vlm_dense.PoolReader'),
        fusion=dict(type='vlm_dense.ScoreFusion', base_power=0.4, novel_power=0.8, void='factor', empty='own'),
        region_bank=dict(type='vlm_dense.HashedBank'),
    )
    assert not any(name.startswith('regions') for name in model.state_dict())
    vocabulary, images_13HW = words(), torch.randn(1, 3, 64, 96)
    asking = model.asked_words(vocabulary, images_13HW.device)
    score_BNK, mask_BNhw = model.name_masks(model.mask_head, images_13HW, asking)
    maps = model.backbone(images_13HW)
    region_BND, empty_BN = model.backbone.tower.embed_masks(maps[-1], mask_BNhw)
    own_NK1 = model.mask_head.logits(model.mask_head.segments(maps, (64, 96)).embed_BND, asking.own)[0]
    own_NK, region_NK = own_NK1[:, :-1].softmax(dim=1), 100 * region_BND[0] @ HashedBank()(vocabulary).t()
    power_NK = torch.tensor([0.4, 0.4, 0.4, 0.8]) * ~empty_BN[0, :, None]
    blend_NK = own_NK ** (1 - power_NK) * region_NK.softmax(dim=1) ** power_NK
    expected_NK = blend_NK / blend_NK.sum(dim=1, keepdim=True) * (1 - own_NK1.softmax(dim=1)[:, -1:])
    torch.testing.assert_close(score_BNK[0], expected_NK, rtol=1e-3, atol=1e-6)


def loss_of(model: nn.Module, samples: list) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model.train()
    pictures = [picture(*sample.img_shape, seed) for seed, sample in enumerate(samples)]
    return model(**model.data_preprocessor(dict(inputs=pictures, data_samples=samples), True), mode='loss')


@pytest.mark.parametrize('kind', ['MaskFormer', 'Mask2Former'])
@pytest.mark.parametrize('panoptic', [False, True])
def test_losses_of_mixed_sizes_reach_every_parameter(kind: str, panoptic: bool) -> None:
    model = detector(kind=kind)
    samples = [det_sample(stripes(*size), words(**THINGS)) for size in SIZES]
    for sample in samples if not panoptic else ():
        del sample.gt_sem_seg
    losses = loss_of(model, samples)
    assert {'loss_cls', 'loss_mask', 'loss_dice', 'd0.loss_cls'} <= set(losses)
    total, _ = model.parse_losses(losses)
    total.backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert total.isfinite()


def test_truths_are_those_of_mmdet(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = detector(), []
    monkeypatch.setattr(model.mask_head, 'loss', lambda features, truths, *rest: given.extend([truths, rest]) or {})
    # The label of a thing in the map, and that of no word, make no stuff.
    samples = [det_sample(stripes(*size, (0, 1, 3, 2, 255)), words(**THINGS)) for size in SIZES]
    loss_of(model, samples)
    truths, (_, input_size, sizes) = given
    assert (input_size, sizes) == ((96, 96), list(SIZES))
    for sample, truth in zip(samples, truths, strict=True):
        labels_G, masks_GHW = preprocess_panoptic_gt(
            sample.gt_instances.labels, sample.gt_instances.masks, sample.gt_sem_seg.sem_seg, 2, 2
        )
        order = torch.cat([torch.arange(2), 2 + labels_G[2:].argsort()])
        assert torch.equal(truth.labels, labels_G[order])
        (_, height, width), (full_height, full_width) = masks_GHW.shape, input_size
        padded_GHW = functional.pad(masks_GHW, (0, full_width - width, 0, full_height - height))
        assert torch.equal(truth.masks.long(), padded_GHW[order])


def test_unseen_words_change_no_loss() -> None:
    model, vocabulary = detector(), words(*WORDS, base=WORDS[:2], **THINGS)
    losses = [loss_of(model, [det_sample(stripes(64, 96, labels), vocabulary)]) for labels in ((0, 2), (0, 3))]
    assert losses[0] == losses[1]


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match='predicts nothing'):
        detector(dict(instance_on=False))
    model = detector(dict(panoptic_on=True))
    with pytest.raises(ConfigError, match='1001 words do not fit'):
        asked(model, [picture(64, 96)], words(*(f'word {number}' for number in range(1001))))
    model.data_preprocessor.pad_mask = False
    with pytest.raises(ConfigError, match='pad_mask=True'):
        loss_of(model, [det_sample(stripes(*size), words()) for size in SIZES])
    bare = det_sample(stripes(64, 96), words())
    bare.gt_instances = InstanceData(labels=torch.tensor([0]), bboxes=torch.zeros(1, 4))
    bare.gt_sem_seg = PixelData(sem_seg=stripes(64, 96)[None])
    with pytest.raises(ConfigError, match='with_mask=True'):
        loss_of(model, [bare])
    many = words(*(f'word {number}' for number in range(256)))
    with pytest.raises(ConfigError, match='ignore_index=255 is also the label'):
        loss_of(detector(), [det_sample(stripes(64, 96, (0, 1, 255)), many)])
    with pytest.raises(DataError, match='a label map holds 255'):
        loss_of(detector(ignore_index=65535), [det_sample(stripes(64, 96, (0, 1, 255)), words())])
