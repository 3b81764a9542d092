"""transformers' CLIP to open_clip: other names, projections transposed, query, key and value in one matrix.

Reads CLIPModel, CLIPTextModelWithProjection and CLIPVisionModelWithProjection, with a vision transformer.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vlm_dense.errors import CheckpointError

TOWERS = ('text_model.', 'vision_model.')
QKV = ('q_proj', 'k_proj', 'v_proj')
IGNORED = '.position_ids'  # a buffer of counting numbers in files of older versions

WHOLE_NAMES = {
    'logit_scale': 'logit_scale',
    'text_projection.weight': 'text_projection',
    'visual_projection.weight': 'visual.proj',
    'text_model.embeddings.token_embedding.weight': 'token_embedding.weight',
    'text_model.embeddings.position_embedding.weight': 'positional_embedding',
    'vision_model.embeddings.class_embedding': 'visual.class_embedding',
    'vision_model.embeddings.patch_embedding.weight': 'visual.conv1.weight',
    'vision_model.embeddings.position_embedding.weight': 'visual.positional_embedding',
}
TRANSPOSED = ('text_projection.weight', 'visual_projection.weight')
PARTS = {
    'text_model.final_layer_norm': 'ln_final',
    'vision_model.pre_layrnorm': 'visual.ln_pre',  # spelt so over there
    'vision_model.post_layernorm': 'visual.ln_post',
    'layer_norm1': 'ln_1',
    'layer_norm2': 'ln_2',
    'mlp.fc1': 'mlp.c_fc',
    'mlp.fc2': 'mlp.c_proj',
    'self_attn.out_proj': 'attn.out_proj',
}
LAYER = re.compile(r'(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)')
BLOCKS = {'text': 'transformer.resblocks', 'vision': 'visual.transformer.resblocks'}


def is_hf_clip(weights: Mapping[str, Tensor]) -> bool:
    """Whether any name belongs to one of the two towers."""
    return any(name.startswith(TOWERS) for name in weights)


def from_hf_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights; names that CLIP does not have stay as they are.

    Raises:
        CheckpointError: If a layer has only some of query, key and value.
    """
    renamed: dict[str, Tensor] = {}
    pieces: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name.endswith(IGNORED):
            continue
        layer = LAYER.fullmatch(name)
        if layer is None:
            renamed[_whole_name(name)] = weight.T.contiguous() if name in TRANSPOSED else weight
            continue
        tower, number, part, kind = layer.groups()
        block = f'{BLOCKS[tower]}.{number}'
        piece = part.removeprefix('self_attn.')
        if piece in QKV:
            pieces[f'{block}.attn.in_proj_{kind}:{piece}'] = weight
        else:
            renamed[f'{block}.{PARTS.get(part, part)}.{kind}'] = weight
    return renamed | join_qkv(pieces)


def join_qkv(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put query, key and value into one matrix each: from names like ``TARGET:q_proj`` to ``TARGET``.

    Raises:
        CheckpointError: If a target has only some of the three.
    """
    joined: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        target, piece = name.split(':')
        joined.setdefault(target, {})[piece] = weight
    return {target: _join(target, pieces) for target, pieces in joined.items()}


def _whole_name(name: str) -> str:
    part, _, kind = name.rpartition('.')
    return WHOLE_NAMES.get(name) or (f'{PARTS[part]}.{kind}' if part in PARTS else name)


def _join(name: str, pieces: Mapping[str, Tensor]) -> Tensor:
    lacking = [piece for piece in QKV if piece not in pieces]
    if lacking:
        raise CheckpointError(f"the weights for '{name}' lack {', '.join(lacking)}. Copy the checkpoint again.")
    return torch.cat([pieces[piece] for piece in QKV])
