"""The authors' SAN (arXiv:2302.12242), in detectron2's layout, to mmseg's names of the same model.

mmseg's side network and CLIP's blocks are one model's under ``image_encoder`` and ``decode_head``; its text encoder's
names come along, because the learned row of what is no mask is among them. `SideAdapterSegmentor` takes that row.
"""

from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.renaming import Rules, numbers_in, rename, tell_unused
from vlm_dense.checkpoints.adapters.split_clip import (
    ENCODER,
    ENCODER_PARTS,
    LAYER_PARTS,
    MMSEG_TEXT,
    OUTSIDE,
    TAIL,
    with_mmseg_shapes,
)

SIGN = 'side_adapter_network.query_embed'
SIDE = 'decode_head.side_adapter_network.'
WORDS = r'ov_classifier\.'
# Parts of a block of timm, by the names of the encoder.
SIDE_PARTS = (
    (r'norm(\d)\.', r'ln\2.'),
    (r'attn\.qkv\.', 'attn.attn.in_proj_'),
    (r'attn\.proj\.', 'attn.attn.out_proj.'),
    (r'mlp\.fc1\.', 'ffn.layers.0.0.'),
    (r'mlp\.fc2\.', 'ffn.layers.1.'),
)
RULES: Rules = (
    *((rf'clip_(?:visual_extractor|rec_head)\.{theirs}', ours) for theirs, ours in OUTSIDE),
    *((rf'clip_visual_extractor\.resblocks\.(\d+)\.{a}', rf'{ENCODER}layers.\1.{b}') for a, b in ENCODER_PARTS),
    *((rf'clip_rec_head\.resblocks\.(\d+)\.{a}', rf'{TAIL}layers.\1.{b}') for a, b in LAYER_PARTS),
    *((rf'side_adapter_network\.vit_model\.blocks\.(\d+)\.{a}', rf'{SIDE}encode_layers.\1.{b}') for a, b in SIDE_PARTS),
    (r'side_adapter_network\.vit_model\.pos_embed$', f'{SIDE}pos_embed'),
    (r'side_adapter_network\.vit_model\.patch_embed\.proj\.', f'{SIDE}patch_embed.projection.'),
    (r'side_adapter_network\.(query_embed$|query_pos_embed$|mask_decoder\.)', rf'{SIDE}\1'),
    *((rf'{WORDS}transformer\.resblocks\.(\d+)\.{a}', rf'{MMSEG_TEXT}transformer.\1.{b}') for a, b in LAYER_PARTS),
    (WORDS, MMSEG_TEXT),
)
FUSED = r'side_adapter_network\.fusion_layers\.layer_(\d+)\.'
UNUSED: Rules = ((r'criterion\.', 'constants of training'),)


def is_side_adapter(weights: Mapping[str, Tensor]) -> bool:
    """Whether the side network's queries have the authors' name."""
    return SIGN in weights


def from_side_adapter(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights mmseg's names and shapes; names that SAN does not have stay as they are, and are told."""
    # Named after the block behind which CLIP's map is added there, and numbered here.
    fused = [
        rule
        for number, block in enumerate(numbers_in(weights, FUSED))
        for rule in (
            (FUSED.replace(r'(\d+)', str(block)) + r'input_proj\.0\.', f'{SIDE}conv_clips.{number}.0.'),
            (FUSED.replace(r'(\d+)', str(block)) + r'input_proj\.1\.', f'{SIDE}conv_clips.{number}.1.conv.'),
        )
    ]
    names = {name: rename(name, (*RULES, *fused)) for name in weights}
    tell_unused((name for name, ours in names.items() if ours is None), UNUSED, "the segmentor's")
    return with_mmseg_shapes({names[name] or name: weight for name, weight in weights.items()})
