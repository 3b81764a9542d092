"""Segmentors that name masks by words, in their authors' layout from detectron2, to those of this library.

Reads ZegFormer (arXiv:2112.07910), ZSSeg (arXiv:2112.14757), OVSeg (arXiv:2210.04150) and FC-CLIP (arXiv:2308.02487),
and what a MaskFormer or Mask2Former of fixed classes shares with them. The models here are `OVMaskSegmentor`, whose
head is called ``decode_head``, and `OVMaskDetector`, which calls it ``mask_head``, with a ResNet, a Swin Transformer or
a `TowerBackbone`.
"""

from collections.abc import Collection, Mapping

from torch import Tensor

from vlm_dense.checkpoints.adapters.detectron2_resnet import resnet_name
from vlm_dense.checkpoints.adapters.mask_heads import mmdet_mask_names
from vlm_dense.checkpoints.adapters.renaming import Rules, add_batch_counters, rename, tell_unused
from vlm_dense.checkpoints.adapters.swin import from_swin

BACKBONE, HEAD = 'backbone.', 'sem_seg_head.'
SIGN = 'sem_seg_head.predictor.query_embed.weight'
SWIN_SIGN, DEEP_STEM = 'patch_embed.proj.weight', 'stem.conv2.weight'
SEGMENTOR, DETECTOR = 'decode_head.', 'mask_head.'
# The tower that FC-CLIP's masks are found with, the embedding of queries, and the row of what is no segment.
METHODS: Rules = (
    (r'backbone\.clip_model\.visual\.', 'backbone.tower.visual.'),
    (r'sem_seg_head\.predictor\.projection_layer\.', 'HEAD.cls_embed.layers.0.'),
    (r'sem_seg_head\.predictor\.bg_feature$', 'HEAD.classifier.extra.learned_ED'),
    (r'clip_adapter\.non_object_embedding$', 'HEAD.classifier.extra.learned_ED'),
    (r'void_embedding\.weight$', 'HEAD.classifier.extra.learned_ED'),
)
POOLED = 'sem_seg_head.predictor._mask_pooling_proj.'
LEARNED_SCALE: Rules = ((r'sem_seg_head\.predictor\.logit_scale$', 'HEAD.classifier.scale.log'),)
UNUSED: Rules = (
    (r'backbone\.clip_model\.', "CLIP's text half; words come from the text bank"),
    (
        r'(clip_adapter|sem_seg_head\.predictor)\.clip_model\.',
        "the CLIP that names regions; name this file as 'pretrained' of the region reader's tower",
    ),
    (r'_?region_clip_adapter\.', 'the CLIP that names regions, in a second copy with prompts of its own'),
    (r'clip_adapter\.prompt_learner\.', 'learned prompts; the text bank writes prompts as its config says'),
    (r'sem_seg_head\.predictor\.class_embed\.', 'the scores of fixed classes; words come from the text bank'),
    (r'sem_seg_head\.predictor\.logit_scale$', "a constant; set the classifier's temperature"),
    (r'criterion\.|(clip_adapter\.)?pixel_(mean|std)$', 'constants of training and of pictures'),
)


def is_mask_release(weights: Mapping[str, Tensor]) -> bool:
    """Whether the queries of a mask decoder stand where detectron2's MaskFormer keeps them."""
    return SIGN in weights


def from_mask_release(weights: Mapping[str, Tensor], own: Collection[str] = ()) -> dict[str, Tensor]:
    """Give weights our names; what the model has no use for keeps its name.

    Counters are added to frozen batch norms, which have none there.

    Args:
        weights: By their names.
        own: Names of the weights of the model; without them the head is a segmentor's.
    """
    head = DETECTOR if any(name.startswith(DETECTOR) for name in own) else SEGMENTOR
    names = _names_beside_backbone(weights, head)
    used = {ours: weights[name] for name, ours in names.items()}
    backbone = _backbone({name.removeprefix(BACKBONE): w for name, w in weights.items() if name.startswith(BACKBONE)})
    used |= {BACKBONE + name: weight for name, weight in backbone.values()}
    known = set(names) | {BACKBONE + name for name in backbone}
    unused = {name: weight for name, weight in weights.items() if name not in known}
    tell_unused(unused, UNUSED, "the model's")
    return {**add_batch_counters(used), **unused}


def _names_beside_backbone(weights: Mapping[str, Tensor], head: str) -> dict[str, str]:
    """From their names to ours, and FC-CLIP's tower among them."""
    masks = mmdet_mask_names([name.removeprefix(HEAD) for name in weights if name.startswith(HEAD)])
    pooled = any(name.startswith(POOLED) for name in weights)
    rules = (*METHODS, *LEARNED_SCALE) if pooled else METHODS
    found = {name: ours.replace('HEAD.', head) for name in weights if (ours := rename(name, rules))}
    return found | {HEAD + name: head + ours for name, ours in masks.items()}


def _backbone(weights: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
    """From their names to names and weights of mmdet's Swin Transformer or ResNet."""
    if SWIN_SIGN in weights:
        return {name: from_swin(name, weight) for name, weight in weights.items()}
    deep_stem = DEEP_STEM in weights
    found = ((name, resnet_name(name, deep_stem), weight) for name, weight in weights.items())
    return {name: (ours, weight) for name, ours, weight in found if ours is not None}
