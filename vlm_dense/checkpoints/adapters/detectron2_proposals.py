"""detectron2's ResNet, feature pyramid and proposal head to those of mmdet's ``RPN``.

Reads files of whole detectron2 detectors, and RegionCLIP's (arXiv:2112.09106), where the network is called offline.
"""

from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.detectron2_resnet import resnet_name
from vlm_dense.checkpoints.adapters.renaming import Rules, rename

OFFLINE = 'offline_'
HEAD = 'proposal_generator.rpn_head.'
BACKBONE, BOTTOM_UP = 'backbone.', 'bottom_up.'
RULES: Rules = (
    *(
        rule
        for level in range(4)
        for theirs, ours in (('lateral', 'lateral'), ('output', 'fpn'))
        for rule in (
            (rf'backbone\.fpn_{theirs}{level + 2}\.norm\.', f'neck.{ours}_convs.{level}.bn.'),
            (rf'backbone\.fpn_{theirs}{level + 2}\.', f'neck.{ours}_convs.{level}.conv.'),
        )
    ),
    (r'proposal_generator\.rpn_head\.conv\.conv(\d)\.', r'bbox_head.rpn_conv.\1.conv.'),
    (r'proposal_generator\.rpn_head\.conv\.', 'bbox_head.rpn_conv.'),
    (r'proposal_generator\.rpn_head\.objectness_logits\.', 'bbox_head.rpn_cls.'),
    (r'proposal_generator\.rpn_head\.anchor_deltas\.', 'bbox_head.rpn_reg.'),
)


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
    found = rename(name, RULES)
    if found is None and name.startswith(BACKBONE):
        found = resnet_name(name.removeprefix(BACKBONE).removeprefix(BOTTOM_UP))
        return found and BACKBONE + found
    return found
