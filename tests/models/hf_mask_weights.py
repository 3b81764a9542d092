"""Weights of transformers' MaskFormer and Mask2Former under the names of mmdet's heads."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

Rules = Sequence[tuple[str, str]]

DETR_LAYER: Rules = (
    (r'self_attn_layer_norm', 'norms.0'),
    (r'final_layer_norm', 'norms.2'),
    (r'(self_attn|cross_attn)\.(?=in_proj|[oqkv]_proj|out_proj)', r'\1.attn.'),
    (r'\bo_proj', 'out_proj'),
    (r'(mlp\.)?fc1', 'ffn.layers.0.0'),
    (r'(mlp\.)?fc2', 'ffn.layers.1'),
)
MASK_FORMER: Rules = (
    (r'^model\.pixel_level_module\.decoder\.', 'pixel_decoder.'),
    (r'fpn\.stem\.0', 'last_feat_conv.conv'),
    (r'fpn\.stem\.1', 'last_feat_conv.gn'),
    (r'fpn\.layers\.(\d)\.proj\.0', lambda found: f'lateral_convs.{2 - int(found[1])}.conv'),
    (r'fpn\.layers\.(\d)\.proj\.1', lambda found: f'lateral_convs.{2 - int(found[1])}.gn'),
    (r'fpn\.layers\.(\d)\.block\.0', lambda found: f'output_convs.{2 - int(found[1])}.conv'),
    (r'fpn\.layers\.(\d)\.block\.1', lambda found: f'output_convs.{2 - int(found[1])}.gn'),
    (r'mask_projection', 'mask_feature'),
    (r'^model\.transformer_module\.queries_embedder', 'query_embed'),
    (r'^model\.transformer_module\.input_projection', 'decoder_input_proj'),
    (r'^model\.transformer_module\.decoder\.', 'transformer_decoder.'),
    (r'transformer_decoder\.layernorm', 'transformer_decoder.post_norm'),
    (r'encoder_attn_layer_norm', 'norms.1'),
    (r'encoder_attn', 'cross_attn'),
    *DETR_LAYER,
    (r'^mask_embedder\.(\d)\.0', lambda found: f'mask_embed.{2 * int(found[1])}'),
)
MASK2FORMER: Rules = (
    (r'^model\.pixel_level_module\.decoder\.', 'pixel_decoder.'),
    (r'pixel_decoder\.level_embed', 'pixel_decoder.level_encoding.weight'),
    (r'input_projections\.(\d)\.0', r'input_convs.\1.conv'),
    (r'input_projections\.(\d)\.1', r'input_convs.\1.gn'),
    (r'adapter_1\.0', 'lateral_convs.0.conv'),
    (r'adapter_1\.1', 'lateral_convs.0.gn'),
    (r'layer_1\.0', 'output_convs.0.conv'),
    (r'layer_1\.1', 'output_convs.0.gn'),
    (r'mask_projection', 'mask_feature'),
    (r'(pixel_decoder\.encoder\..*)final_layer_norm', r'\1norms.1'),
    (r'(pixel_decoder\.encoder\..*)self_attn_layer_norm', r'\1norms.0'),
    (r'^model\.transformer_module\.queries_embedder', 'query_embed'),
    (r'^model\.transformer_module\.queries_features', 'query_feat'),
    (r'^model\.transformer_module\.level_embed', 'level_embed'),
    (r'^model\.transformer_module\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0', r'mask_embed.\1'),
    (r'^mask_embed\.(\d)', lambda found: f'mask_embed.{2 * int(found[1])}'),
    (r'^model\.transformer_module\.decoder\.', 'transformer_decoder.'),
    (r'transformer_decoder\.layernorm', 'transformer_decoder.post_norm'),
    (r'cross_attn_layer_norm', 'norms.0'),
    (r'self_attn_layer_norm', 'norms.1'),
    *DETR_LAYER[1:],
)
NOT_OF_THE_HEAD = ('model.pixel_level_module.encoder.', 'class_predictor.', 'criterion.')


def renamed(state: dict[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """All weights of the head; queries, keys and values of an attention joined where they are apart."""
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith(NOT_OF_THE_HEAD):
            continue
        for pattern, target in rules:
            name = re.sub(pattern, target, name)
        ours[name] = value
    for name in [name for name in ours if '.q_proj.' in name]:
        stem, kind = name.split('.q_proj.')
        ours[f'{stem}.in_proj_{kind}'] = torch.cat([ours.pop(f'{stem}.{part}_proj.{kind}') for part in 'qkv'])
    return ours


def take(head: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Load into a mask head; every weight has a place, and only what names the masks stays as it is."""
    missing, unexpected = head.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert all(name.startswith(('cls_embed.', 'classifier.')) for name in missing), missing
