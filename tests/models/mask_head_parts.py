"""Small mask heads, features for them, and truths to learn from."""

import copy

import torch
from mmengine import ConfigDict
from mmengine.structures import InstanceData

from vlm_dense.models import WordRows
from vlm_dense.models.heads import mask

WIDTH, QUERIES, D, HEADS = 32, 7, 12, 4
CHANNELS = [8, 12, 16, 20]
SIZE = (64, 96)


def attention(**more: object) -> dict:
    return dict(embed_dims=WIDTH, num_heads=HEADS, dropout=0.0, batch_first=True, **more)


def feed_forward() -> dict:
    return dict(embed_dims=WIDTH, feedforward_channels=48, num_fcs=2, ffn_drop=0.0)


def decoder(layers: int) -> dict:
    layer = dict(self_attn_cfg=attention(), cross_attn_cfg=attention(), ffn_cfg=feed_forward())
    return dict(num_layers=layers, layer_cfg=layer, return_intermediate=True)


def shared() -> dict:
    return dict(
        in_channels=CHANNELS,
        feat_channels=WIDTH,
        out_channels=WIDTH,
        num_queries=QUERIES,
        positional_encoding=dict(num_feats=WIDTH // 2, normalize=True),
    )


def mask_former_parts(encoder: bool = False) -> dict:
    pixels: dict = dict(type='mmdet.PixelDecoder', norm_cfg=dict(type='GN', num_groups=32))
    if encoder:
        layer = dict(self_attn_cfg=attention(), ffn_cfg=feed_forward())
        positions = dict(num_feats=WIDTH // 2, normalize=True)
        pixels.update(
            type='mmdet.TransformerEncoderPixelDecoder',
            encoder=dict(num_layers=1, layer_cfg=layer),
            positional_encoding=positions,
        )
    return dict(pixel_decoder=pixels, transformer_decoder=decoder(2), **shared())


def mask2former_parts() -> dict:
    deformable = dict(embed_dims=WIDTH, num_heads=HEADS, num_levels=3, num_points=2, dropout=0.0, batch_first=True)
    pixels = dict(
        type='mmdet.MSDeformAttnPixelDecoder',
        num_outs=3,
        norm_cfg=dict(type='GN', num_groups=32),
        encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=feed_forward())),
        positional_encoding=dict(num_feats=WIDTH // 2, normalize=True),
    )
    return dict(pixel_decoder=pixels, transformer_decoder=decoder(3), num_transformer_feat_level=3, **shared())


def classifier(**changes: object) -> dict:
    return {**dict(type='vlm_dense.EmbeddingClassifier', embed_dim=D, background=None, void='learned'), **changes}


def mask_former(encoder: bool = False, **changes: object) -> mask.OVMaskFormerHead:
    return mask.OVMaskFormerHead(**{**mask_former_parts(encoder), 'classifier': classifier(), **changes})


def mask2former(**changes: object) -> mask.OVMask2FormerHead:
    settings = {**mask2former_parts(), 'classifier': classifier(), 'train_cfg': dict(num_points=64), **changes}
    return mask.OVMask2FormerHead(**settings)


HEAD_KINDS = {'mask_former': mask_former, 'mask2former': mask2former}


def their_config(ours: torch.nn.Module, parts: dict, num_classes: int) -> dict:
    """The same losses and matching for mmdet's head."""
    paper = ours.training_defaults
    loss_cls = {**paper.loss_cls, 'class_weight': [1.0] * num_classes + [0.1]}
    losses = dict(loss_cls=loss_cls, loss_mask=paper.loss_mask, loss_dice=paper.loss_dice)
    config = dict(**parts, **losses, train_cfg=paper.train_cfg)
    return {
        name: ConfigDict(copy.deepcopy(value)) if isinstance(value, dict) else value for name, value in config.items()
    }


def as_class_scores(ours: torch.nn.Module, linear: torch.nn.Linear) -> torch.Tensor:
    """Make a head with one embedding layer and a raw void give the scores of a linear layer; returns its word rows.

    The last number of an embedding is always 1 and carries the biases.
    """
    width = linear.in_features
    with torch.no_grad():
        embed = ours.cls_embed.layers[0]
        embed.weight.copy_(torch.cat([torch.eye(width), torch.zeros(1, width)]))
        embed.bias.copy_(torch.cat([torch.zeros(width), torch.ones(1)]))
        rows_SD = torch.cat([linear.weight, linear.bias[:, None]], dim=1)
        ours.classifier.extra.learned_ED.copy_(rows_SD[-1:])
    return rows_SD[:-1].detach()


def linear_settings() -> dict:
    """Settings with which `as_class_scores` works."""
    plain = classifier(embed_dim=WIDTH + 1, temperature=1.0, normalize=False, void='learned_raw')
    return dict(classifier=plain, query_embedding=dict(num_layers=1))


def with_words(ours: torch.nn.Module, linear: torch.nn.Linear) -> WordRows:
    """The request for which a head gives the scores of a linear layer."""
    rows_KD = as_class_scores(ours, linear)
    return WordRows(rows_KD, torch.ones(len(rows_KD), dtype=torch.bool))


def without_classes(head: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of mmdet's head that ours has too."""
    return {name: value for name, value in head.state_dict().items() if not name.startswith('cls_embed.')}


def features(pictures: int = 2) -> list[torch.Tensor]:
    height, width = SIZE
    return [
        torch.randn(pictures, channels, height // stride, width // stride)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


def words(count: int, is_base: list[bool] | None = None, width: int = D) -> WordRows:
    rows_KD = torch.nn.functional.normalize(torch.randn(count, width), dim=1)
    return WordRows(rows_KD, torch.tensor([True] * count if is_base is None else is_base))


def label_maps(count: int, pictures: int = 2) -> torch.Tensor:
    """Stripes of different labels, (B, H, W), with a stripe of 255."""
    maps_BHW = torch.full((pictures, *SIZE), 255)
    for picture in range(pictures):
        for stripe in range(3):
            maps_BHW[picture, :, stripe * 30 : stripe * 30 + 25] = (stripe + picture) % count
    return maps_BHW


def truths(count: int, pictures: int = 2) -> list[InstanceData]:
    return [mask.segments_of_labels(label_HW, 255) for label_HW in label_maps(count, pictures)]


def long_truths(count: int) -> list[InstanceData]:
    """The same with masks as mmdet's losses want them."""
    return [InstanceData(labels=truth.labels, masks=truth.masks.long()) for truth in truths(count)]


def gradients_reach_everything(head: torch.nn.Module, losses: dict[str, torch.Tensor]) -> None:
    head.zero_grad()
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    missing = [name for name, parameter in head.named_parameters() if parameter.grad is None]
    assert missing == []
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
