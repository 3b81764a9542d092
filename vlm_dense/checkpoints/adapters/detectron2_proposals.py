"""detectron2's ResNet, feature pyramid and proposal head to those of mmdet's ``RPN``.

Reads files of whole detectron2 detectors, and RegionCLIP's (arXiv:2112.09106), where the network is called offline.
mmdet's stages are `layer1` to `layer4` for `res2` to `res5`; its ResNet needs ``style='caffe'`` for weights of MSRA.
"""

import re
from collections.abc import Mapping

from torch import Tensor

OFFLINE = 'offline_'
HEAD = 'proposal_generator.rpn_head.'
# Patterns of whole names, tried in order.
NAMES = [
    (r'backbone\.(?:bottom_up\.)?stem\.conv1\.norm\.(\w+)', r'backbone.bn1.\1'),
    (r'backbone\.(?:bottom_up\.)?stem\.conv1\.weight', r'backbone.conv1.weight'),
    (r'backbone\.fpn_(lateral|output)(\d)\.norm\.(\w+)', r'neck.\1_convs.\2.bn.\3'),
    (r'backbone\.fpn_(lateral|output)(\d)\.(\w+)', r'neck.\1_convs.\2.conv.\3'),
    (r'backbone\.(?:bottom_up\.)?res(\d)\.(\d+)\.conv(\d)\.norm\.(\w+)', r'backbone.layer\1.\2.bn\3.\4'),
    (r'backbone\.(?:bottom_up\.)?res(\d)\.(\d+)\.shortcut\.norm\.(\w+)', r'backbone.layer\1.\2.downsample.1.\3'),
    (r'backbone\.(?:bottom_up\.)?res(\d)\.(\d+)\.shortcut\.(\w+)', r'backbone.layer\1.\2.downsample.0.\3'),
    (r'backbone\.(?:bottom_up\.)?res(\d)\.(\d+)\.conv(\d)\.(\w+)', r'backbone.layer\1.\2.conv\3.\4'),
    (r'proposal_generator\.rpn_head\.conv\.conv(\d)\.(\w+)', r'bbox_head.rpn_conv.\1.conv.\2'),
    (r'proposal_generator\.rpn_head\.conv\.(\w+)', r'bbox_head.rpn_conv.\1'),
    (r'proposal_generator\.rpn_head\.objectness_logits\.(\w+)', r'bbox_head.rpn_cls.\1'),
    (r'proposal_generator\.rpn_head\.anchor_deltas\.(\w+)', r'bbox_head.rpn_reg.\1'),
]
STAGES = re.compile(r'(backbone\.layer|neck\.(?:lateral|output)_convs\.)(\d)(?=\.)')


def to_mmdet_proposals(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename detectron2's proposal network, where there is one; other weights get 'detectron2:' before their names.

    In a file that holds the network twice over, as an offline one and as the detector's own, the offline one is meant.
    """
    if not any(name.removeprefix(OFFLINE).startswith(HEAD) for name in weights):
        return dict(weights)
    offline = any(name.startswith(OFFLINE + HEAD) for name in weights)
    prefix = OFFLINE if offline else ''
    renamed = {}
    for name, weight in weights.items():
        found = _mmdet_name(name.removeprefix(prefix)) if name.startswith(prefix) else None
        renamed[found or f'detectron2:{name}'] = weight
    return renamed


def _mmdet_name(name: str) -> str | None:
    for pattern, target in NAMES:
        if re.fullmatch(pattern, name):
            renamed = re.sub(pattern, target, name)
            renamed = STAGES.sub(_stage, renamed)
            return renamed.replace('neck.output_convs', 'neck.fpn_convs')
    return None


def _stage(found: re.Match[str]) -> str:
    first = 1 if found[1].startswith('backbone') else 2
    return f'{found[1]}{int(found[2]) - first}'
