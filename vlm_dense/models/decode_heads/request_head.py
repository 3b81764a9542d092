"""What the segmentor asks of every pixel head."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from vlm_dense.text.bank import TextBank
from vlm_dense.text.vocabulary import Vocabulary


class RequestHead(BaseModule):
    """A head that is given a bank and words, and in the end decides the labels.

    Args:
        align_corners: As in ``torch.nn.functional.interpolate``, for all resizing of logits.
        init_cfg: mmengine's initialisation settings.
    """

    def __init__(self, align_corners: bool = False, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.align_corners = align_corners

    def rows(self, bank: TextBank, vocabulary: Vocabulary) -> Tensor:
        """The rows that the pictures are compared with: one per word, (K, D)."""
        return bank(vocabulary)

    def decide(self, logits_KHW: Tensor, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        """Score maps and labels (1, H, W) of one picture, from its logits at its original size."""
        return logits_KHW, logits_KHW.argmax(dim=0, keepdim=True)

    def resize(self, logits_BKhw: Tensor, size: Sequence[int]) -> Tensor:
        """Bilinear resize; the very tensor where the size already fits."""
        if tuple(logits_BKhw.shape[-2:]) == tuple(size):
            return logits_BKhw
        return functional.interpolate(logits_BKhw, tuple(size), mode='bilinear', align_corners=self.align_corners)
