"""CLIPSeg's weights (arXiv:2112.10003) to those of a segmentor with `FilmPixelHead` and `OpenClipTower`.

Reads transformers' CLIPSegForImageSegmentation, and the authors' files, which hold the decoder alone.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.hf_clip import from_hf_clip, join_qkv

HEAD = 'decode_head.'
TOWER = 'backbone.tower.'
HF_DECODER = 'decoder.'
HF_CLIP = 'clip.'
IMAGE_HALF = 'visual.'
HF_PARTS = {'layer_norm1': 'norm1', 'layer_norm2': 'norm2', 'mlp.fc1': 'linear1', 'mlp.fc2': 'linear2'}
HF_LAYER = re.compile(r'layers\.(\d+)\.(.+)\.(weight|bias)')
UNUSED = 'reduce.'  # the authors' files have it, and their model never asks it


def to_film_segmentor(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights the names of a segmentor, ``decode_head.*`` and, from transformers, ``backbone.tower.*``.

    The text half of transformers' files is left out, because it belongs to the text encoder. Unknown names stay.

    Raises:
        CheckpointError: If a layer has only some of query, key and value.
    """
    if not any(name.startswith(HF_DECODER) for name in weights):
        return {_authors_name(name): weight for name, weight in weights.items() if not name.startswith(UNUSED)}
    decoder = {name.removeprefix(HF_DECODER): w for name, w in weights.items() if name.startswith(HF_DECODER)}
    clip = {name.removeprefix(HF_CLIP): w for name, w in weights.items() if name.startswith(HF_CLIP)}
    rest = {name: w for name, w in weights.items() if not name.startswith((HF_DECODER, HF_CLIP))}
    renamed = {HEAD + name: weight for name, weight in _from_hf_decoder(decoder).items()}
    tower = {TOWER + n: weight for n, weight in from_hf_clip(clip).items() if n.startswith(IMAGE_HALF)}
    return renamed | tower | rest


def _authors_name(name: str) -> str:
    part, _, rest = name.partition('.')
    if part in ('film_mul', 'film_add', 'reduces', 'blocks'):
        return HEAD + name
    return f'{HEAD}enlarge.{rest}' if part == 'trans_conv' else name


def _from_hf_decoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    pieces: dict[str, Tensor] = {}
    for name, weight in weights.items():
        layer = HF_LAYER.fullmatch(name)
        if layer is None:
            renamed[name.replace('transposed_convolution', 'enlarge')] = weight
        elif layer[2].startswith('self_attn.') and layer[2] != 'self_attn.out_proj':
            piece = layer[2].removeprefix('self_attn.')
            pieces[f'blocks.{layer[1]}.self_attn.in_proj_{layer[3]}:{piece}'] = weight
        else:
            renamed[f'blocks.{layer[1]}.{HF_PARTS.get(layer[2], layer[2])}.{layer[3]}'] = weight
    return renamed | join_qkv(pieces)
