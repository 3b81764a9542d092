"""Names of a segmentor whose first CLIP blocks are its encoder and whose last ones stand in its head (SAN).

These are mmseg's names of ``MultimodalEncoderDecoder`` with ``SideAdapterCLIPHead``.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.renaming import Rules, rename

VISUAL = 'visual.'
ENCODER = 'image_encoder.'
TAIL = 'decode_head.rec_with_attnbias.'
MMSEG_TEXT = 'text_encoder.'
MMSEG_VOID = f'{MMSEG_TEXT}bg_embed'
MMSEG_SCALE = f'{MMSEG_TEXT}logit_scale'
VOID = 'decode_head.classifier.extra.learned_ED'
BLOCK = re.compile(r'visual\.transformer\.resblocks\.(\d+)\.')
OUTSIDE: Rules = (
    (r'class_embedding$', f'{ENCODER}cls_token'),
    (r'positional_embedding$', f'{ENCODER}pos_embed'),
    (r'conv1\.', f'{ENCODER}patch_embed.projection.'),
    (r'ln_pre\.', f'{ENCODER}ln_pre.'),
    (r'ln_post\.', f'{TAIL}ln_post.'),
    (r'proj$', f'{TAIL}proj.weight'),
)
# Parts of a block of CLIP, as mmseg's vision transformer and as mmcv's plain layer call them.
ENCODER_PARTS: Rules = (
    (r'ln_1\.', 'ln1.'),
    (r'ln_2\.', 'ln2.'),
    (r'attn\.', 'attn.attn.'),
    (r'mlp\.c_fc\.', 'ffn.layers.0.0.'),
    (r'mlp\.c_proj\.', 'ffn.layers.1.'),
)
LAYER_PARTS: Rules = (
    (r'ln_1\.', 'norms.0.'),
    (r'ln_2\.', 'norms.1.'),
    (r'attn\.', 'attentions.0.attn.'),
    (r'mlp\.c_fc\.', 'ffns.0.layers.0.0.'),
    (r'mlp\.c_proj\.', 'ffns.0.layers.1.'),
)
SHAPES = {
    f'{ENCODER}cls_token': lambda weight: weight.reshape(1, 1, -1),
    f'{ENCODER}pos_embed': lambda weight: weight[None],
    f'{TAIL}proj.weight': lambda weight: weight.t(),
}


def to_split_clip(weights: Mapping[str, Tensor], encoder_blocks: int) -> dict[str, Tensor]:
    """Give the picture half of a plain CLIP transformer the names of such a segmentor.

    Args:
        weights: With open_clip's names. The text half is left out; unknown names of the picture half stay.
        encoder_blocks: How many blocks belong to the encoder.
    """
    visual = {name: weight for name, weight in weights.items() if name.startswith(VISUAL)}
    return with_mmseg_shapes({_split_name(name, encoder_blocks) or name: weight for name, weight in visual.items()})


def with_mmseg_shapes(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's weights under mmseg's names with the shapes that they have there; others stay as they are."""
    return {name: SHAPES[name](weight) if name in SHAPES else weight for name, weight in weights.items()}


def from_mmseg_side_adapter(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """mmseg's weights without the text encoder, whose learned background is the void here. Others stay as they are."""
    kept = {name: weight for name, weight in weights.items() if not name.startswith(MMSEG_TEXT)}
    return kept | {VOID: weights[MMSEG_VOID]} if MMSEG_VOID in weights else kept


def logit_scale_of(weights: Mapping[str, Tensor]) -> float | None:
    """The factor of the cosines in mmseg's weights, None where they are no such."""
    return float(weights[MMSEG_SCALE].exp()) if MMSEG_SCALE in weights else None


def _split_name(name: str, encoder_blocks: int) -> str | None:
    block = BLOCK.match(name)
    if block is None:
        return rename(name.removeprefix(VISUAL), OUTSIDE)
    number = int(block[1])
    start, place, parts = (
        (ENCODER, number, ENCODER_PARTS) if number < encoder_blocks else (TAIL, number - encoder_blocks, LAYER_PARTS)
    )
    part = rename(name[block.end() :], parts)
    return part and f'{start}layers.{place}.{part}'
