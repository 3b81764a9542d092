"""Scores of regions for a vocabulary too large for one matrix.

Shapes: N regions, K words, k of them, D embedding width.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vlm_dense.models.requests import WordRows

if TYPE_CHECKING:
    from vlm_dense.models.heads.bbox.ov_bbox_head import OVBBoxHead

SCORES_AT_ONCE = 2**22  # 16 MiB: of 1,000 regions and 4,194 words


class WordParts:
    """Iterates over (first word, scores (N, k)), as often as wanted; together they are `OVBBoxHead.scores`.

    The sums of the softmaxes are taken first, a few words at a time, and differ from those of one pass by rounding.

    Args:
        head: Has the classifiers; the logits of a word depend on no other word.
        text_ND: As in `OVBBoxHead.scores`.
        image_ND: As there.
        words: Rows of the vocabulary.
        scores_at_once: Numbers in the matrix of a part, at least one word's.
    """

    def __init__(
        self, head: 'OVBBoxHead', text_ND: Tensor, image_ND: Tensor | None, words: WordRows, scores_at_once: int
    ) -> None:
        self.head, self.text_ND, self.image_ND, self.words = head, text_ND, image_ND, words
        self.step = max(scores_at_once // max(len(text_ND), 1), 1)
        self.text_sum_N1 = self._log_sum(head.classifier, text_ND)
        self.image_sum_N1 = None if image_ND is None else self._log_sum(head.image_classifier, image_ND)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        head = self.head
        for start in range(0, len(self.words.text_KD), self.step):
            part = slice(start, start + self.step)
            log_Nk = self._logits(head.classifier, self.text_ND, part)[0] - self.text_sum_N1
            if self.image_ND is not None and self.image_sum_N1 is not None:
                image_Nk = self._logits(head.image_classifier, self.image_ND, part)[0] - self.image_sum_N1
                log_Nk = head.fusion.blend(log_Nk, image_Nk, self.words.is_base_K[part])
            yield start, log_Nk.exp()

    def _logits(self, classifier: nn.Module, region_ND: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Logits of some words (N, k), and of the background (N, 1) or (N, 0)."""
        text_kD, is_base_k = self.words.text_KD[part], self.words.is_base_K[part]
        words_Nk, background_NE = classifier(region_ND, text_kD, is_base_k).tensor_split([len(text_kD)], dim=1)
        return words_Nk, background_NE

    def _log_sum(self, classifier: nn.Module, region_ND: Tensor) -> Tensor:
        sums: list[Tensor] = []
        for start in range(0, len(self.words.text_KD), self.step):
            words_Nk, background_NE = self._logits(classifier, region_ND, slice(start, start + self.step))
            sums.append(words_Nk.logsumexp(dim=1))
        return torch.cat([torch.stack(sums, dim=1), background_NE], dim=1).logsumexp(dim=1, keepdim=True)
