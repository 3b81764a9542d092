"""Names of a segmentor whose first CLIP blocks are its encoder and whose last ones stand in its head (SAN).

These are mmseg's names of ``MultimodalEncoderDecoder`` with ``SideAdapterCLIPHead``.
"""

import re
from collections.abc import Mapping

from torch import Tensor

VISUAL = 'visual.'
ENCODER = 'image_encoder.'
TAIL = 'decode_head.rec_with_attnbias.'
MMSEG_TEXT = 'text_encoder.'
MMSEG_VOID = f'{MMSEG_TEXT}bg_embed'
MMSEG_SCALE = f'{MMSEG_TEXT}logit_scale'
VOID = 'decode_head.classifier.extra.learned_ED'
BLOCK = re.compile(r'transformer\.resblocks\.(\d+)\.(.+)')
OUTSIDE = {
    'conv1.weight': f'{ENCODER}patch_embed.projection.weight',
    'class_embedding': f'{ENCODER}cls_token',
    'positional_embedding': f'{ENCODER}pos_embed',
    'ln_pre.weight': f'{ENCODER}ln_pre.weight',
    'ln_pre.bias': f'{ENCODER}ln_pre.bias',
    'ln_post.weight': f'{TAIL}ln_post.weight',
    'ln_post.bias': f'{TAIL}ln_post.bias',
    'proj': f'{TAIL}proj.weight',
}
# Of a block, in the encoder and in the head.
PARTS = {
    'ln_1.': ('ln1.', 'norms.0.'),
    'attn.': ('attn.attn.', 'attentions.0.attn.'),
    'ln_2.': ('ln2.', 'norms.1.'),
    'mlp.c_fc.': ('ffn.layers.0.0.', 'ffns.0.layers.0.0.'),
    'mlp.c_proj.': ('ffn.layers.1.', 'ffns.0.layers.1.'),
}


def to_split_clip(weights: Mapping[str, Tensor], encoder_blocks: int) -> dict[str, Tensor]:
    """Give the picture half of a plain CLIP transformer the names of such a segmentor.

    Args:
        weights: With open_clip's names. The text half is left out; unknown names of the picture half stay.
        encoder_blocks: How many blocks belong to the encoder.
    """
    visual = {n.removeprefix(VISUAL): weight for n, weight in weights.items() if n.startswith(VISUAL)}
    renamed = {_split_name(name, encoder_blocks): weight for name, weight in visual.items()}
    shapes = {
        OUTSIDE['class_embedding']: lambda weight: weight.reshape(1, 1, -1),
        OUTSIDE['positional_embedding']: lambda weight: weight[None],
        OUTSIDE['proj']: lambda weight: weight.t(),
    }
    return {name: shapes[name](weight) if name in shapes else weight for name, weight in renamed.items()}


def from_mmseg_side_adapter(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """mmseg's weights without the text encoder, whose learned background is the void here. Others stay as they are."""
    kept = {name: weight for name, weight in weights.items() if not name.startswith(MMSEG_TEXT)}
    return kept | {VOID: weights[MMSEG_VOID]} if MMSEG_VOID in weights else kept


def logit_scale_of(weights: Mapping[str, Tensor]) -> float | None:
    """The factor of the cosines in mmseg's weights, None where they are no such."""
    return float(weights[MMSEG_SCALE].exp()) if MMSEG_SCALE in weights else None


def _split_name(name: str, encoder_blocks: int) -> str:
    block = BLOCK.fullmatch(name)
    if block is None:
        return OUTSIDE.get(name, VISUAL + name)
    number, rest = int(block[1]), block[2]
    for part, (in_encoder, in_tail) in PARTS.items():
        if rest.startswith(part):
            rest = rest.removeprefix(part)
            if number < encoder_blocks:
                return f'{ENCODER}layers.{number}.{in_encoder}{rest}'
            return f'{TAIL}layers.{number - encoder_blocks}.{in_tail}{rest}'
    return VISUAL + name
