"""What the segmentor asks of every pixel head."""

from abc import ABCMeta, abstractmethod
from collections.abc import Iterable, Sequence

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from vlm_dense.models.decode_heads.row_maps import BestRow, RowMaps
from vlm_dense.text.bank import TextBank
from vlm_dense.text.vocabulary import Vocabulary


class RequestHead(BaseModule, metaclass=ABCMeta):
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

    @abstractmethod
    def row_maps(self, features: Sequence, text_SD: Tensor, is_base_K: Tensor | None = None) -> RowMaps:
        """Logits of all rows, which the segmentor enlarges a few at a time.

        Args:
            features: Outputs of the backbone or neck.
            text_SD: Of `rows`.
            is_base_K: Boolean (K,), for classifiers that treat seen words apart.
        """

    def labels(self, parts: Iterable[tuple[int, Tensor]], vocabulary: Vocabulary) -> Tensor:
        """The label of every pixel of one picture: here the row that is highest.

        Args:
            parts: First row and logits (s, H, W) of all rows, a few at a time; may be gone through more than once.
            vocabulary: The K words.

        Returns:
            (H, W) int64, K for the background.
        """
        best = BestRow()
        for start, part_sHW in parts:
            best.add(start, part_sHW)
        assert best.row_HW is not None
        return best.row_HW

    def scores(self, logits_SHW: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Score maps of all words, (K, H, W) or with a background (K + 1, H, W), whose argmax the labels are.

        Args:
            logits_SHW: All that `labels` gets, at once.
            vocabulary: The K words.
        """
        return logits_SHW

    def resize(self, logits_BKhw: Tensor, size: Sequence[int]) -> Tensor:
        """Bilinear resize; the very tensor where the size already fits."""
        if tuple(logits_BKhw.shape[-2:]) == tuple(size):
            return logits_BKhw
        return functional.interpolate(logits_BKhw, tuple(size), mode='bilinear', align_corners=self.align_corners)
