"""LSeg's weights (arXiv:2201.03546), as PyTorch Lightning saved them, to those of a segmentor of this library.

The backbone is timm's vision transformer in a `TowerBackbone` before a `DPTPixelHead`, or timm's ResNet before a
`PyramidPixelHead`. The authors number the fusion blocks from the finest map, we from the coarsest.
"""

from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.renaming import Rules, rename, tell_unused

SIGN = 'net.scratch.head1.weight'
STAGE = 'net.pretrained.layer1.'
LEVELS = range(1, 5)
FUSION = 'decode_head.fusion.'
# The coarsest map has nothing to be added to, so that its first unit is in the files and never asked.
IDLE = r'net\.scratch\.refinenet4\.resConfUnit1\.'
# Stem, norm and first stage of a ResNet are one sequence there.
STAGES: Rules = (
    (r'net\.pretrained\.layer1\.0\.', 'backbone.tower.trunk.conv1.'),
    (r'net\.pretrained\.layer1\.1\.', 'backbone.tower.trunk.bn1.'),
    (r'net\.pretrained\.layer1\.4\.', 'backbone.tower.trunk.layer1.'),
    (r'net\.pretrained\.layer(\d)\.', r'backbone.tower.trunk.layer\1.'),
    (r'net\.scratch\.head1\.', 'decode_head.project.0.'),
)
RULES: Rules = (
    (r'net\.pretrained\.model\.(cls_token$|pos_embed$|patch_embed\.|blocks\.)', r'backbone.tower.trunk.\1'),
    *(
        rule
        for level in LEVELS
        for rule in (
            (
                rf'net\.pretrained\.act_postprocess{level}\.0\.project\.',
                f'decode_head.reassemble.readout_projects.{level - 1}.',
            ),
            (rf'net\.pretrained\.act_postprocess{level}\.3\.', f'decode_head.reassemble.projects.{level - 1}.conv.'),
            (rf'net\.pretrained\.act_postprocess{level}\.4\.', f'decode_head.reassemble.resize_layers.{level - 1}.'),
            (rf'net\.scratch\.layer{level}_rn\.', f'{FUSION}convs.{level - 1}.conv.'),
            (rf'net\.scratch\.refinenet{level}\.out_conv\.', f'{FUSION}blocks.{4 - level}.project.conv.'),
            (
                rf'(?!{IDLE})net\.scratch\.refinenet{level}\.resConfUnit(\d)\.conv(\d)\.',
                rf'{FUSION}blocks.{4 - level}.res_conv_unit\1.conv\2.conv.',
            ),
            (
                rf'(?!{IDLE})net\.scratch\.refinenet{level}\.resConfUnit(\d)\.bn(\d)\.',
                rf'{FUSION}blocks.{4 - level}.res_conv_unit\1.conv\2.bn.',
            ),
        )
    ),
    (r'net\.scratch\.head1\.', 'decode_head.project.'),
    (r'net\.scratch\.head_block\.depthwise\.depthwise\.', 'decode_head.refine.conv.'),
)
UNUSED: Rules = (
    (r'net\.clip_pretrained\.', 'CLIP; words come from the text bank'),
    (r'net\.pretrained\.model\.', "the norm and the classifier behind the backbone's last tap"),
    (IDLE, 'the unit of the coarsest fusion block that nothing passes through'),
)


def is_dpt_release(weights: Mapping[str, Tensor]) -> bool:
    """Whether the layer that makes embeddings has LSeg's name."""
    return SIGN in weights


def from_dpt_release(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights our names; what the segmentor has no use for keeps its name."""
    convolutional = any(name.startswith(STAGE) for name in weights)
    rules = (*STAGES, *RULES) if convolutional else RULES
    names = {name: rename(name, rules) for name in weights}
    tell_unused((name for name, ours in names.items() if ours is None), UNUSED, "the segmentor's")
    return {names[name] or name: weight for name, weight in weights.items()}
