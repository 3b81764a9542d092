"""MaskFormer's masks with embeddings for words."""

from collections.abc import Callable

from mmdet.models.dense_heads import MaskFormerHead

from vlm_dense.models.heads.mask.word_masks import MaskTraining, WordMasks
from vlm_dense.registry import MODELS

PAPER = MaskTraining(
    loss_cls=dict(type='mmdet.CrossEntropyLoss', loss_weight=1.0),
    loss_mask=dict(type='mmdet.FocalLoss', loss_weight=20.0),
    loss_dice=dict(type='mmdet.DiceLoss', activate=True, naive_dice=True, eps=1.0, loss_weight=1.0),
    train_cfg=dict(
        assigner=dict(
            type='mmdet.HungarianAssigner',
            match_costs=[
                dict(type='mmdet.ClassificationCost', weight=1.0),
                dict(type='mmdet.FocalLossCost', weight=20.0, binary_input=True),
                dict(type='mmdet.DiceCost', weight=1.0, pred_act=True, eps=1.0),
            ],
        ),
        sampler=dict(type='mmdet.MaskPseudoSampler'),
    ),
)


@MODELS.register_module()
class OVMaskFormerHead(WordMasks, MaskFormerHead):
    """mmdet's ``MaskFormerHead`` (arXiv:2107.06278) whose masks are named by the words of the request.

    The mask head of ZegFormer (arXiv:2112.07910), ZSSeg (arXiv:2112.14757) and OVSeg (arXiv:2210.04150). Losses and
    matching are MaskFormer's unless a config says otherwise: classification 1, focal 20, dice 1.

    Arguments are those of `WordMasks` and of mmdet's head.
    """

    training_defaults = PAPER

    def _last_layer(self) -> dict[str, Callable]:
        return {'transformer_decoder': lambda **inputs: self.transformer_decoder(**inputs)[-1:]}
