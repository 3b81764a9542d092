"""RegionCLIP's weights (arXiv:2112.09106) to those of `OVTwoStageDetector` on CLIP's ResNet, read as C4.

The authors' files come from detectron2. Beside the detector they may hold a teacher (a second copy of the tower), the
offline proposal network, CLIP's text half and the words' rows. These stay under their own names, so that a coverage
report lists them, and are counted in the log.
"""

from collections.abc import Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.renaming import Rules, add_batch_counters, rename, tell_unused

POOL = 'backbone.attnpool.'
OURS = 'backbone.tower.visual.'
RULES: Rules = (
    (r'backbone\.', OURS),
    (r'roi_heads\.box_predictor\.bbox_pred\.', 'roi_head.bbox_head.fc_reg.'),
    (r'roi_heads\.mask_head\.deconv\.', 'roi_head.mask_head.upsample.'),
    (r'roi_heads\.mask_head\.predictor\.', 'roi_head.mask_head.conv_logits.'),
)
UNUSED: Rules = (
    (r'teacher_backbone\.', "the teacher's tower; a branch's teacher is built from its config"),
    (
        r'offline_(backbone|proposal_generator)\.',
        'the offline proposal network; name this file as checkpoint of OfflineProposals',
    ),
    (r'lang_encoder\.', 'the text half; words come from the text bank'),
    (r'roi_heads\.box_predictor\.', "the words' rows; words come from the text bank"),
)


def is_clip_c4_detector(weights: Mapping[str, Tensor]) -> bool:
    """Whether a CLIP ResNet with its attention pooling stands where detectron2 keeps a backbone."""
    return any(name.startswith(POOL) for name in weights)


def from_clip_c4_detector(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights our names; what the detector has no use for keeps its name.

    The authors' batch norms are frozen and count no batches; the counters that torch's have are added.
    """
    names = {name: rename(name, RULES) for name in weights}
    used = {ours: weights[name] for name, ours in names.items() if ours is not None}
    unused = {name: weights[name] for name, ours in names.items() if ours is None}
    tell_unused(unused, UNUSED, "the detector's")
    return {**add_batch_counters(used), **unused}
