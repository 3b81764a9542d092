"""RegionCLIP's weights (arXiv:2112.09106) to those of `OVTwoStageDetector` on CLIP's ResNet, read as C4.

The authors' files come from detectron2. Beside the detector they may hold a teacher (a second copy of the tower), the
offline proposal network, CLIP's text half and the words' rows. These stay under their own names, so that a coverage
report lists them, and are counted in the log.
"""

import logging
from collections import Counter
from collections.abc import Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor

TOWER = 'backbone.'
POOL = 'backbone.attnpool.'
OURS = 'backbone.tower.visual.'
PARTS = {
    'roi_heads.box_predictor.bbox_pred.': 'roi_head.bbox_head.fc_reg.',
    'roi_heads.mask_head.deconv.': 'roi_head.mask_head.upsample.',
    'roi_heads.mask_head.predictor.': 'roi_head.mask_head.conv_logits.',
}
UNUSED = {
    'teacher_backbone.': "the teacher's tower; a branch's teacher is built from its config",
    'offline_backbone.': 'the offline proposal network; name this file as checkpoint of OfflineProposals',
    'offline_proposal_generator.': 'the offline proposal network; name this file as checkpoint of OfflineProposals',
    'lang_encoder.': 'the text half; words come from the text bank',
    'roi_heads.box_predictor.': "the words' rows; words come from the text bank",
}
STATISTIC, COUNTER = '.running_mean', '.num_batches_tracked'


def is_clip_c4_detector(weights: Mapping[str, Tensor]) -> bool:
    """Whether a CLIP ResNet with its attention pooling stands where detectron2 keeps a backbone."""
    return any(name.startswith(POOL) for name in weights)


def from_clip_c4_detector(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights our names; what the detector has no use for keeps its name.

    The authors' batch norms are frozen and count no batches; the counters that torch's have are added.
    """
    renamed: dict[str, Tensor] = {}
    unused: Counter[str] = Counter()
    for name, weight in weights.items():
        found = _own_name(name)
        renamed[found or name] = weight
        if found is None:
            unused[next((what for start, what in UNUSED.items() if name.startswith(start)), f"'{name}'")] += 1
        elif found.startswith(OURS) and found.endswith(STATISTIC):
            renamed[found.removesuffix(STATISTIC) + COUNTER] = torch.zeros((), dtype=torch.long)
    for what, count in unused.items():
        print_log(f"{count} weights are not the detector's: {what}.", logger='current', level=logging.WARNING)
    return renamed


def _own_name(name: str) -> str | None:
    if name.startswith(TOWER):
        return OURS + name.removeprefix(TOWER)
    return next((ours + name.removeprefix(theirs) for theirs, ours in PARTS.items() if name.startswith(theirs)), None)
