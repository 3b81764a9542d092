"""MaskFormer and Mask2Former under the names of their authors' releases, small, and what they compute.

Written from the papers; names and shapes are those that detectron2's modules save.
Sizes are those of the shrunk recipes.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.layers import SinePositionalEncoding
from torch import Tensor, nn

WIDTH, GROUPS, HEADS, QUERIES, EMBED, FEEDFORWARD = 32, 32, 2, 6, 512, 32
LEVELS, POINTS = 3, 4  # of four maps, the coarsest, which the deformable encoder reads
CHANNELS = (32, 64, 128, 256)
SIDES = (32, 16, 8, 4)


def tree(**parts: nn.Module | nn.Parameter) -> nn.Module:
    """A module whose parts have these names."""
    made = nn.Module()
    for name, part in parts.items():
        setattr(made, name, part)
    return made


class NormedConv(nn.Conv2d):
    """detectron2's convolution: the norm is its child, and brings the bias."""

    def __init__(self, inside: int, outside: int, kernel: int) -> None:
        super().__init__(inside, outside, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(GROUPS, outside)

    def forward(self, map_BChw: Tensor) -> Tensor:
        return self.norm(super().forward(map_BChw))


class Perceptron(nn.Module):
    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, rows: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            rows = layer(rows).relu()
        return self.layers[-1](rows)


def attention() -> nn.Module:
    return nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)


def positions(map_BChw: Tensor) -> Tensor:
    sine = SinePositionalEncoding(WIDTH // 2, normalize=True)
    return rows_of(sine(torch.zeros(len(map_BChw), *map_BChw.shape[2:], dtype=torch.bool)))


def rows_of(map_BChw: Tensor) -> Tensor:
    return map_BChw.flatten(2).transpose(1, 2)


def feed_forward(layer: nn.Module, rows: Tensor) -> Tensor:
    return rows + layer.linear2(layer.linear1(rows).relu())


def side_convolutions(head: nn.Module, channels: Sequence[int]) -> None:
    for number, width in enumerate(channels, start=1):
        setattr(head, f'adapter_{number}', NormedConv(width, WIDTH, 1))
        setattr(head, f'layer_{number}', NormedConv(WIDTH, WIDTH, 3))


def mask_former(encoded: bool, two_layers: bool = True, channels: Sequence[int] = CHANNELS) -> nn.Module:
    """MaskFormer with embeddings of queries, ZSSeg's of two layers or ZegFormer's of one."""
    pixels = tree(mask_features=nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
    side_convolutions(pixels, channels[:3])
    pixels.layer_4 = NormedConv(WIDTH if encoded else channels[3], WIDTH, 3)
    if encoded:
        pixels.input_proj = nn.Conv2d(channels[3], WIDTH, 1)
        pixels.transformer = tree(encoder=tree(layers=nn.ModuleList([plain_layer(False), plain_layer(False)])))
    decoder = tree(layers=nn.ModuleList([plain_layer(True), plain_layer(True)]), norm=nn.LayerNorm(WIDTH))
    predictor = tree(
        transformer=tree(decoder=decoder),
        query_embed=nn.Embedding(QUERIES, WIDTH),
        mask_embed=Perceptron(WIDTH, WIDTH, WIDTH, WIDTH),
    )
    if not encoded:
        predictor.input_proj = nn.Conv2d(channels[3], WIDTH, 1)
    if two_layers:
        predictor.class_embed = Perceptron(WIDTH, WIDTH, EMBED)
    else:
        predictor.projection_layer = nn.Linear(WIDTH, EMBED)
    return randomised(tree(sem_seg_head=tree(pixel_decoder=pixels, predictor=predictor)))


def plain_layer(crosses: bool) -> nn.Module:
    layer = tree(
        self_attn=attention(),
        linear1=nn.Linear(WIDTH, FEEDFORWARD),
        linear2=nn.Linear(FEEDFORWARD, WIDTH),
        norm1=nn.LayerNorm(WIDTH),
        norm2=nn.LayerNorm(WIDTH),
    )
    if crosses:
        layer.multihead_attn, layer.norm3 = attention(), nn.LayerNorm(WIDTH)
    return layer


def run_mask_former(model: nn.Module, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Embeddings (B, N, D) and masks (B, N, h, w) of the last layer."""
    pixels, predictor = model.sem_seg_head.pixel_decoder, model.sem_seg_head.predictor
    place_BLC, top = positions(maps[-1]), maps[-1]
    if hasattr(pixels, 'input_proj'):
        rows_BLC = rows_of(pixels.input_proj(top))
        for layer in pixels.transformer.encoder.layers:
            query_BLC = rows_BLC + place_BLC
            rows_BLC = layer.norm1(rows_BLC + layer.self_attn(query_BLC, query_BLC, rows_BLC)[0])
            rows_BLC = layer.norm2(feed_forward(layer, rows_BLC))
        memory_BLC = rows_BLC
        top = rows_BLC.transpose(1, 2).unflatten(2, top.shape[2:])
    else:
        memory_BLC = rows_of(predictor.input_proj(top))
    fused = pixels.layer_4(top).relu()
    for number in (3, 2, 1):
        side = getattr(pixels, f'adapter_{number}')(maps[number - 1])
        fused = getattr(pixels, f'layer_{number}')(side + F.interpolate(fused, side.shape[2:])).relu()
    place_BNC = predictor.query_embed.weight.expand(len(top), -1, -1)
    query_BNC = torch.zeros_like(place_BNC)
    for layer in predictor.transformer.decoder.layers:
        placed = query_BNC + place_BNC
        query_BNC = layer.norm1(query_BNC + layer.self_attn(placed, placed, query_BNC)[0])
        crossed = layer.multihead_attn(query_BNC + place_BNC, memory_BLC + place_BLC, memory_BLC)[0]
        query_BNC = layer.norm3(feed_forward(layer, layer.norm2(query_BNC + crossed)))
    query_BNC = predictor.transformer.decoder.norm(query_BNC)
    embed = predictor.class_embed if hasattr(predictor, 'class_embed') else predictor.projection_layer
    masks = torch.einsum('bnc,bchw->bnhw', predictor.mask_embed(query_BNC), pixels.mask_features(fused))
    return embed(query_BNC), masks


def mask2former(
    channels: Sequence[int] = CHANNELS, encoder_layers: int = 2, decoder_layers: int = LEVELS + 1
) -> nn.Module:
    """Mask2Former with FC-CLIP's embedding of queries and masks; the decoder has one layer more than levels."""
    encoder = nn.ModuleList(deformable_layer() for _ in range(encoder_layers))
    pixels = tree(
        input_proj=nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, WIDTH, 1), nn.GroupNorm(GROUPS, WIDTH)) for c in channels[::-1][:LEVELS]
        ),
        transformer=tree(level_embed=nn.Parameter(torch.randn(LEVELS, WIDTH)), encoder=tree(layers=encoder)),
        mask_features=nn.Conv2d(WIDTH, WIDTH, 1),
    )
    side_convolutions(pixels, channels[:1])
    predictor = tree(
        decoder_norm=nn.LayerNorm(WIDTH),
        query_feat=nn.Embedding(QUERIES, WIDTH),
        query_embed=nn.Embedding(QUERIES, WIDTH),
        level_embed=nn.Embedding(LEVELS, WIDTH),
        mask_embed=Perceptron(WIDTH, WIDTH, WIDTH, WIDTH),
        class_embed=Perceptron(WIDTH, WIDTH, WIDTH, EMBED),
        _mask_pooling_proj=nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)),
    )
    for part in ('self_attention', 'cross_attention', 'ffn'):
        layers = nn.ModuleList(masked_part(part) for _ in range(decoder_layers))
        setattr(predictor, f'transformer_{part}_layers', layers)
    return randomised(tree(sem_seg_head=tree(pixel_decoder=pixels, predictor=predictor)))


def deformable_layer() -> nn.Module:
    layer = plain_layer(False)
    layer.self_attn = MultiScaleDeformableAttention(WIDTH, HEADS, LEVELS, POINTS, dropout=0.0, batch_first=True)
    return layer


def masked_part(part: str) -> nn.Module:
    if part == 'ffn':
        return tree(
            linear1=nn.Linear(WIDTH, FEEDFORWARD),
            linear2=nn.Linear(FEEDFORWARD, WIDTH),
            norm=nn.LayerNorm(WIDTH),
        )
    name = 'self_attn' if part == 'self_attention' else 'multihead_attn'
    return tree(**{name: attention(), 'norm': nn.LayerNorm(WIDTH)})


def run_mask2former(model: nn.Module, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Embeddings (B, N, D) and masks (B, N, h, w) of the last layer."""
    predictor = model.sem_seg_head.predictor
    features, levels = run_deformable(model.sem_seg_head.pixel_decoder, maps)
    memory = [rows_of(level) + predictor.level_embed.weight[number] for number, level in enumerate(levels)]
    place_BNC = predictor.query_embed.weight.expand(len(features), -1, -1)
    query_BNC = predictor.query_feat.weight.expand(len(features), -1, -1)
    for number, crossing in enumerate(predictor.transformer_cross_attention_layers):
        level = number % len(levels)
        hidden = hidden_cells(predict_masks(predictor, query_BNC, features), levels[level].shape[2:])
        key_BLC = memory[level] + positions(levels[level])
        crossed = crossing.multihead_attn(query_BNC + place_BNC, key_BLC, memory[level], attn_mask=hidden)[0]
        query_BNC = crossing.norm(query_BNC + crossed)
        mixing, feeding = (getattr(predictor, f'transformer_{n}_layers')[number] for n in ('self_attention', 'ffn'))
        placed = query_BNC + place_BNC
        query_BNC = mixing.norm(query_BNC + mixing.self_attn(placed, placed, query_BNC)[0])
        query_BNC = feeding.norm(feed_forward(feeding, query_BNC))
    masks = predict_masks(predictor, query_BNC, features)
    inside = (masks > 0).float()
    mean_BNC = torch.einsum('bnhw,bchw->bnc', inside, features) / (inside.sum((2, 3)) + 1e-8)[..., None]
    pooled_BNC = predictor._mask_pooling_proj(mean_BNC)
    return predictor.class_embed(pooled_BNC + predictor.decoder_norm(query_BNC)), masks


def predict_masks(predictor: nn.Module, query_BNC: Tensor, features: Tensor) -> Tensor:
    return torch.einsum('bnc,bchw->bnhw', predictor.mask_embed(predictor.decoder_norm(query_BNC)), features)


def hidden_cells(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Where each query may not look, (B heads, N, L): outside its mask, unless that is everywhere."""
    outside = (F.interpolate(masks, size, mode='bilinear').sigmoid() < 0.5).flatten(2)
    outside = outside & ~outside.all(dim=2, keepdim=True)
    return outside.repeat_interleave(HEADS, dim=0)


def run_deformable(pixels: nn.Module, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Mask features, and the levels from coarse to fine."""
    coarse = [proj(level) for proj, level in zip(pixels.input_proj, maps[:0:-1], strict=True)]
    shapes = torch.tensor([level.shape[2:] for level in coarse])
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    place = torch.cat([positions(m) + pixels.transformer.level_embed[n] for n, m in enumerate(coarse)], dim=1)
    centres = torch.cat([cell_centres(*level.shape[2:]) for level in coarse])
    reference = centres[None, :, None].expand(len(coarse[0]), -1, LEVELS, -1)
    rows = torch.cat([rows_of(level) for level in coarse], dim=1)
    for layer in pixels.transformer.encoder.layers:
        read = layer.self_attn(
            rows + place,
            value=rows,
            identity=torch.zeros_like(rows),
            reference_points=reference,
            spatial_shapes=shapes,
            level_start_index=starts,
        )
        rows = layer.norm2(feed_forward(layer, layer.norm1(rows + read)))
    split = rows.split(shapes.prod(1).tolist(), dim=1)
    levels = [r.transpose(1, 2).unflatten(2, tuple(s)) for r, s in zip(split, shapes.tolist(), strict=True)]
    side = pixels.adapter_1(maps[0])
    larger = F.interpolate(levels[-1], side.shape[2:], mode='bilinear')
    return pixels.mask_features(pixels.layer_1(side + larger).relu()), levels


def cell_centres(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing='ij')
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def randomised(model: nn.Module) -> nn.Module:
    """No two weights alike, so that none can take another's place unnoticed."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def pyramid() -> list[Tensor]:
    return [torch.randn(2, c, side, side + side // 2) for c, side in zip(CHANNELS, SIDES, strict=True)]
