"""Masks, scores and losses of the MaskFormer head against mmdet, mmseg and transformers, same random weights."""

import pytest
import torch
from hf_mask_weights import MASK_FORMER, renamed, take
from mask_head_parts import (
    SIZE,
    WIDTH,
    features,
    label_maps,
    linear_settings,
    long_truths,
    mask_former,
    mask_former_parts,
    their_config,
    truths,
    with_words,
    without_classes,
)
from mmdet.models.dense_heads import MaskFormerHead
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData
from mmseg.models.decode_heads import MaskFormerHead as SegMaskFormerHead
from mmseg.structures import SegDataSample
from torch.testing import assert_close
from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation, SwinConfig

TOLERANCE = dict(rtol=1e-4, atol=1e-4)
K = 5
PADDED = [(64, 96), (40, 70)]


@pytest.mark.parametrize('encoder', [False, True])
def test_masks_scores_and_losses_are_those_of_mmdet(encoder: bool) -> None:
    ours = mask_former(encoder, **linear_settings())
    config = their_config(ours, mask_former_parts(encoder), K)
    theirs = MaskFormerHead(**config, num_things_classes=2, num_stuff_classes=3)
    take(ours, without_classes(theirs))
    words, maps = with_words(ours, theirs.cls_embed), features()
    samples = [DetDataSample(metainfo=dict(batch_input_shape=SIZE, img_shape=size)) for size in PADDED]
    scores_LBNK, masks_LBNhw = theirs(maps, samples)
    found = ours.segments(maps, SIZE, PADDED)
    assert_close(found.mask_BNhw, masks_LBNhw[-1], **TOLERANCE)
    assert_close(ours.logits(found.embed_BND, words), scores_LBNK[-1], **TOLERANCE)
    instances = long_truths(K)
    expected = theirs.loss_by_feat(scores_LBNK, masks_LBNhw, instances, [sample.metainfo for sample in samples])
    losses = ours.loss(maps, truths(K), words, SIZE, PADDED)
    assert losses.keys() == expected.keys()
    assert len(losses) == 3 * 2  # every decoder layer
    for name, value in expected.items():
        assert_close(losses[name], value, **TOLERANCE)


def test_losses_are_those_of_mmseg() -> None:
    ours = mask_former(**linear_settings())
    theirs = SegMaskFormerHead(num_classes=K, **their_config(ours, mask_former_parts(), K))
    take(ours, without_classes(theirs))
    words, maps = with_words(ours, theirs.cls_embed), features()
    samples = []
    for label_HW in label_maps(K):
        sample = SegDataSample(metainfo=dict(img_shape=SIZE))
        sample.gt_sem_seg = PixelData(data=label_HW[None])
        samples.append(sample)
    expected = theirs.loss(maps, samples, None)
    losses = ours.loss(maps, truths(K), words, SIZE)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(losses[name], value, **TOLERANCE)


def test_gradients_are_those_of_mmdet() -> None:
    ours = mask_former(**linear_settings())
    theirs = MaskFormerHead(**their_config(ours, mask_former_parts(), K), num_things_classes=K, num_stuff_classes=0)
    take(ours, without_classes(theirs))
    words, maps = with_words(ours, theirs.cls_embed), features()
    metas = [dict(batch_input_shape=SIZE, img_shape=SIZE)] * 2
    instances = long_truths(K)
    outputs = theirs(maps, [DetDataSample(metainfo=meta) for meta in metas])
    sum(theirs.loss_by_feat(*outputs, instances, metas).values()).backward()
    sum(ours.loss(maps, truths(K), words, SIZE).values()).backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if name in expected and 'cls_embed' not in name:
            assert_close(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-4)
    void_D = ours.classifier.extra.learned_ED.grad[0]
    assert_close(void_D[:-1], theirs.cls_embed.weight.grad[-1], **TOLERANCE)
    assert_close(void_D[-1], theirs.cls_embed.bias.grad[-1], **TOLERANCE)


def test_masks_and_scores_are_those_of_transformers() -> None:
    channels = [16, 32, 64, 128]
    backbone = SwinConfig(
        embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], window_size=4, drop_path_rate=0.0, image_size=64
    )
    decoder = DetrConfig(
        d_model=WIDTH, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=48, num_queries=7, dropout=0.0
    )
    config = MaskFormerConfig(
        fpn_feature_size=WIDTH, mask_feature_size=WIDTH, backbone_config=backbone, decoder_config=decoder, num_labels=K
    )
    theirs = MaskFormerForInstanceSegmentation(config).eval()
    for parameter in theirs.parameters():  # their own start leaves norms and biases at 0 and 1
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    ours = mask_former(**linear_settings(), in_channels=channels).eval()
    take(ours, renamed(theirs.state_dict(), MASK_FORMER))
    words = with_words(ours, theirs.class_predictor)
    images_B3HW = torch.randn(2, 3, 128, 64)
    with torch.no_grad():
        expected = theirs(images_B3HW)
        maps = theirs.model.pixel_level_module.encoder(images_B3HW).feature_maps
        found = ours.segments(maps, images_B3HW.shape[2:])
        scores_BNS = ours.logits(found.embed_BND, words)
    assert expected.masks_queries_logits.std() > 0.01
    assert_close(found.mask_BNhw, expected.masks_queries_logits, **TOLERANCE)
    assert_close(scores_BNS, expected.class_queries_logits, **TOLERANCE)
