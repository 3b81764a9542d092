"""Cross-entropy over words and a void that weighs less.

Source: DETR (arXiv:2005.12872), Sec. 3.1, and MaskFormer (arXiv:2107.06278), Sec. 3.2: the class "no object" has weight
0.1, because most masks belong to it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm_dense.registry import MODELS


@MODELS.register_module()
class VoidWeightedCrossEntropy(nn.Module):
    """The weighted mean of -log softmax, as mmseg's ``CrossEntropyLoss`` with a class weight for every column.

    The number of columns is that of the call.

    Args:
        void_weight: Of labels that mean the last column; all others have weight 1.
        loss_weight: Factor of the whole.
        loss_name: What the loss is called.
    """

    def __init__(self, void_weight: float = 0.1, loss_weight: float = 1.0, loss_name: str = 'loss_cls_ce') -> None:
        super().__init__()
        self.void_weight = void_weight
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits_NK: Tensor, label_N: Tensor) -> Tensor:
        """The loss, ().

        Args:
            logits_NK: Void last.
            label_N: int64.
        """
        weight_K = torch.ones(logits_NK.shape[1], device=logits_NK.device)
        weight_K[-1] = self.void_weight
        return self.loss_weight * functional.cross_entropy(logits_NK.float(), label_N, weight=weight_K)
