"""The authors' GLIP (arXiv:2112.03857), in maskrcnn-benchmark's layout, to `GroundingDetector`."""

import re
from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.swin import from_swin

SIGNS = ('backbone.fpn.fpn_inner2.weight', 'rpn.head.dot_product_projection_text.weight')
# Anchors are counted again by every model; class logits, resizers and the pooler are in the files and never asked.
UNUSED = re.compile(r'anchor_generator|\.cls_logits\.|resizer|language_backbone\..*\.pooler\.')
BACKBONE, SWIN = 'backbone.', 'backbone.body.'
# From names to names, first to last; the levels P3 to P5 are written 2 to 4 there.
RENAMED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^backbone\.fpn\.fpn_inner2\.', 'neck.lateral_convs.0.conv.'),
        (r'^backbone\.fpn\.fpn_inner3\.', 'neck.lateral_convs.1.conv.'),
        (r'^backbone\.fpn\.fpn_inner4\.', 'neck.lateral_convs.2.conv.'),
        (r'^backbone\.fpn\.fpn_layer2\.', 'neck.fpn_convs.0.conv.'),
        (r'^backbone\.fpn\.fpn_layer3\.', 'neck.fpn_convs.1.conv.'),
        (r'^backbone\.fpn\.fpn_layer4\.', 'neck.fpn_convs.2.conv.'),
        (r'^backbone\.fpn\.top_blocks\.p6\.', 'neck.fpn_convs.3.conv.'),
        (r'^backbone\.fpn\.top_blocks\.p7\.', 'neck.fpn_convs.4.conv.'),
        (r'^language_backbone\.', 'language_model.language_backbone.'),
        (r'^rpn\.head\.', 'bbox_head.head.'),
        (r'^(bbox_head\.head\..*)\.DyConv\.', r'\1.dyconvs.'),
        (r'^(bbox_head\.head\..*)\.AttnConv\.', r'\1.attnconv.'),
    )
)


def is_grounding_release(weights: Mapping[str, Tensor]) -> bool:
    """Whether pyramid and head have the names of the authors' files."""
    return all(sign in weights for sign in SIGNS)


def from_grounding_release(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights, without the wrapper's ``module.``; names that GLIP does not have stay as they are."""
    return dict(_renamed(name, weight) for name, weight in weights.items() if not UNUSED.search(name))


def _renamed(name: str, weight: Tensor) -> tuple[str, Tensor]:
    if name.startswith(SWIN):
        name, weight = from_swin(name.removeprefix(SWIN), weight)
        return BACKBONE + name, weight
    for pattern, replacement in RENAMED:
        name = pattern.sub(replacement, name)
    return name, weight
