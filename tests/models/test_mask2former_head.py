"""Masks, scores and losses of the Mask2Former head against mmdet and transformers, same random weights."""

import torch
from hf_mask_weights import MASK2FORMER, renamed, take
from mask_head_parts import (
    SIZE,
    WIDTH,
    features,
    linear_settings,
    long_truths,
    mask2former,
    mask2former_parts,
    their_config,
    truths,
    with_words,
    without_classes,
)
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.structures import DetDataSample
from torch.testing import assert_close
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

TOLERANCE = dict(rtol=1e-4, atol=1e-4)
K = 5


def test_masks_scores_and_losses_are_those_of_mmdet() -> None:
    ours = mask2former(**linear_settings(), train_cfg=None)
    theirs = Mask2FormerHead(**their_config(ours, mask2former_parts(), K), num_things_classes=2, num_stuff_classes=3)
    take(ours, without_classes(theirs))
    words, maps = with_words(ours, theirs.cls_embed), features()
    metas = [dict(batch_input_shape=SIZE, img_shape=SIZE)] * 2
    scores, masks = theirs(maps, [DetDataSample(metainfo=meta) for meta in metas])
    found = ours.segments(maps, SIZE)
    assert_close(found.mask_BNhw, masks[-1], **TOLERANCE)
    assert_close(ours.logits(found.embed_BND, words), scores[-1], **TOLERANCE)
    instances = long_truths(K)
    torch.manual_seed(7)  # the losses look at random points
    expected = theirs.loss_by_feat(scores, masks, instances, metas)
    torch.manual_seed(7)
    losses = ours.loss(maps, truths(K), words, SIZE)
    assert losses.keys() == expected.keys()
    assert len(losses) == 3 * (1 + 3)
    for name, value in expected.items():
        assert_close(losses[name], value, **TOLERANCE)


def test_masks_and_scores_are_those_of_transformers() -> None:
    channels = [16, 32, 64, 128]
    stages = ['stage1', 'stage2', 'stage3', 'stage4']
    backbone = SwinConfig(
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 4, 8],
        window_size=4,
        drop_path_rate=0.0,
        out_features=stages,
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=WIDTH,
        mask_feature_size=WIDTH,
        hidden_dim=WIDTH,
        encoder_feedforward_dim=48,
        encoder_layers=2,
        decoder_layers=4,
        num_attention_heads=4,
        dim_feedforward=48,
        dropout=0.0,
        num_queries=7,
        num_labels=K,
    )
    theirs = Mask2FormerForUniversalSegmentation(config).eval()
    for parameter in theirs.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    parts = mask2former_parts()
    parts['pixel_decoder']['encoder']['layer_cfg']['self_attn_cfg']['num_points'] = 4  # theirs has no other
    parts['pixel_decoder']['encoder']['layer_cfg']['ffn_cfg']['act_cfg'] = dict(type='ReLU')
    ours = mask2former(**{**parts, **linear_settings(), 'in_channels': channels}).eval()
    take(ours, renamed(theirs.state_dict(), MASK2FORMER))
    words = with_words(ours, theirs.class_predictor)
    images_B3HW = torch.randn(2, 3, 128, 64)
    with torch.no_grad():
        expected = theirs(images_B3HW)
        maps = theirs.model.pixel_level_module.encoder(images_B3HW).feature_maps
        every_layer = theirs.model(images_B3HW).masks_queries_logits
        _, masks = ours(maps, [DetDataSample()] * 2)  # this head reads nothing of a sample
        found = ours.segments(maps, images_B3HW.shape[2:])
        scores_BNS = ours.logits(found.embed_BND, words)
    assert expected.masks_queries_logits.std() > 0.01
    assert_close(found.mask_BNhw, expected.masks_queries_logits, **TOLERANCE)
    assert_close(scores_BNS, expected.class_queries_logits, **TOLERANCE)
    assert len(masks) == len(every_layer) == 4
    for ours_BNhw, theirs_BNhw in zip(masks, every_layer, strict=True):
        assert_close(ours_BNhw, theirs_BNhw, **TOLERANCE)
