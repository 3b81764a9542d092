"""Mask2Former's masks with embeddings for words."""

from mmdet.models.dense_heads import Mask2FormerHead

from vlm_dense.models.heads.mask.word_masks import MaskTraining, WordMasks
from vlm_dense.registry import MODELS

PAPER = MaskTraining(
    loss_cls=dict(type='mmdet.CrossEntropyLoss', loss_weight=2.0),
    loss_mask=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=5.0),
    loss_dice=dict(type='mmdet.DiceLoss', activate=True, naive_dice=True, eps=1.0, loss_weight=5.0),
    train_cfg=dict(
        num_points=12544,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        assigner=dict(
            type='mmdet.HungarianAssigner',
            match_costs=[
                dict(type='mmdet.ClassificationCost', weight=2.0),
                dict(type='mmdet.CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
                dict(type='mmdet.DiceCost', weight=5.0, pred_act=True, eps=1.0),
            ],
        ),
        sampler=dict(type='mmdet.MaskPseudoSampler'),
    ),
)


@MODELS.register_module()
class OVMask2FormerHead(WordMasks, Mask2FormerHead):
    """mmdet's ``Mask2FormerHead`` (arXiv:2112.01527) whose masks are named by the words of the request.

    The mask head of FC-CLIP (arXiv:2308.02487). Losses and matching are Mask2Former's unless a config says otherwise:
    classification 2, mask 5, dice 5, at 12544 points.

    Arguments are those of `WordMasks` and of mmdet's head.
    """

    training_defaults = PAPER
