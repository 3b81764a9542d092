"""The authors' MaskFormer (arXiv:2107.06278) and Mask2Former (arXiv:2112.01527) heads to mmdet's.

Names are told without the ``sem_seg_head.`` before theirs. The pixel decoder's side convolutions are counted from the
finest map in both projects, from 1 there; levels that attention reads, and embeddings by level, from the coarsest.
"""

from collections.abc import Collection, Iterable

from vlm_dense.checkpoints.adapters.renaming import Rules, numbers_in, rename

LAYER = r'layers\.(\d+)\.'
LAYER_PARTS = (
    (r'self_attn\.', 'self_attn.attn.'),
    (r'multihead_attn\.', 'cross_attn.attn.'),
    (r'linear1\.', 'ffn.layers.0.0.'),
    (r'linear2\.', 'ffn.layers.1.'),
    *((rf'norm{number + 1}\.', f'norms.{number}.') for number in range(3)),
)
# Linear layers with an activation after each but the last, in one list there and with the activations here.
PERCEPTRONS: Rules = tuple(
    (rf'predictor\.{theirs}\.layers\.{number}\.', f'{ours}.{2 * number}.')
    for theirs, ours in (('class_embed', 'cls_embed.layers'), ('mask_embed', 'mask_embed'))
    for number in range(3)
)
ENCODER = (r'pixel_decoder\.transformer\.encoder\.', 'pixel_decoder.encoder.')
SIDE, SMOOTH = r'pixel_decoder\.adapter_(\d+)\.', r'pixel_decoder\.layer_(\d+)\.'
ALIKE: Rules = (
    (r'pixel_decoder\.mask_features\.', 'pixel_decoder.mask_feature.'),
    (r'predictor\.query_embed\.', 'query_embed.'),
    *PERCEPTRONS,
)
# Mask2Former keeps the parts of a decoder layer in three lists; its first attention is that to the picture.
MASKED_DECODER: Rules = tuple(
    (rf'predictor\.transformer_{part}_layers\.(\d+)\.{theirs}\.', rf'transformer_decoder.layers.\1.{ours}.')
    for part, theirs, ours in (
        ('cross_attention', 'multihead_attn', 'cross_attn.attn'),
        ('cross_attention', 'norm', 'norms.0'),
        ('self_attention', 'self_attn', 'self_attn.attn'),
        ('self_attention', 'norm', 'norms.1'),
        ('ffn', 'linear1', 'ffn.layers.0.0'),
        ('ffn', 'linear2', 'ffn.layers.1'),
        ('ffn', 'norm', 'norms.2'),
    )
)
DEFORMABLE_ENCODER: Rules = (
    (r'pixel_decoder\.input_proj\.(\d+)\.0\.', r'pixel_decoder.input_convs.\1.conv.'),
    (r'pixel_decoder\.input_proj\.(\d+)\.1\.', r'pixel_decoder.input_convs.\1.gn.'),
    (r'pixel_decoder\.transformer\.level_embed$', 'pixel_decoder.level_encoding.weight'),
    (rf'pixel_decoder\.transformer\.encoder\.{LAYER}self_attn\.', r'pixel_decoder.encoder.layers.\1.self_attn.'),
)


def mmdet_mask_names(names: Collection[str]) -> dict[str, str]:
    """From their names to mmdet's, of a head of either kind; names that neither has are left out.

    A ``class_embed`` of several layers becomes ``cls_embed.layers``, see `vlm_dense.models.heads.mask.QueryEmbedding`.
    """
    plain = {name: _with_pixel_decoder(name) for name in names}
    masked = any(name.startswith('predictor.transformer_cross_attention_layers.') for name in plain.values())
    rules = _mask2former_rules(plain.values()) if masked else _mask_former_rules(plain.values())
    found = {name: rename(full, rules) for name, full in plain.items()}
    return {name: ours for name, ours in found.items() if ours is not None}


def _with_pixel_decoder(name: str) -> str:
    """Files of the first version have the pixel decoder's parts in the head itself."""
    return name if name.startswith(('predictor.', 'pixel_decoder.')) else f'pixel_decoder.{name}'


def _mask_former_rules(names: Collection[str]) -> Rules:
    levels = numbers_in(names, SMOOTH)
    encoded = any(name.startswith('pixel_decoder.input_proj.') for name in names)
    coarsest = 'encoder_out_proj' if encoded else 'last_feat_conv'
    return (
        *_side_convolutions(levels[:-1]),
        *(rule for level in levels[-1:] for rule in _convolution(f'layer_{level}', coarsest)),
        (r'pixel_decoder\.input_proj\.', 'pixel_decoder.encoder_in_proj.'),
        *_layers(*ENCODER),
        *_layers(r'predictor\.transformer\.decoder\.', 'transformer_decoder.'),
        (r'predictor\.transformer\.decoder\.norm\.', 'transformer_decoder.post_norm.'),
        (r'predictor\.input_proj\.', 'decoder_input_proj.'),
        *ALIKE,
    )


def _mask2former_rules(names: Collection[str]) -> Rules:
    return (
        *_side_convolutions(numbers_in(names, SIDE)),
        *DEFORMABLE_ENCODER,
        *_layers(*ENCODER),
        *MASKED_DECODER,
        (r'predictor\.decoder_norm\.', 'transformer_decoder.post_norm.'),
        (r'predictor\.(?:query_feat|static_query)\.', 'query_feat.'),
        (r'predictor\.level_embed\.', 'level_embed.'),
        (r'predictor\.input_proj\.(\d+)\.', r'decoder_input_projs.\1.'),
        (r'predictor\._mask_pooling_proj\.', 'cls_embed.pooled.'),
        *ALIKE,
    )


def _side_convolutions(levels: Iterable[int]) -> Rules:
    return tuple(
        rule
        for level in levels
        for theirs, ours in (('adapter', 'lateral_convs'), ('layer', 'output_convs'))
        for rule in _convolution(f'{theirs}_{level}', f'{ours}.{level - 1}')
    )


def _convolution(theirs: str, ours: str) -> Rules:
    """With its group norm."""
    return (
        (rf'pixel_decoder\.{theirs}\.norm\.', f'pixel_decoder.{ours}.gn.'),
        (rf'pixel_decoder\.{theirs}\.', f'pixel_decoder.{ours}.conv.'),
    )


def _layers(theirs: str, ours: str) -> Rules:
    return tuple((rf'{theirs}{LAYER}{part}', rf'{ours}layers.\1.{target}') for part, target in LAYER_PARTS)
