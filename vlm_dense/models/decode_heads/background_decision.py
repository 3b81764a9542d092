"""Words against background words and a threshold, from logits that come a few rows at a time.

Shapes: K words, S rows of text, s of them, H W pixels.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from vlm_dense.models.decode_heads.row_maps import BestRow


class BackgroundDecision:
    """The best word and whether the background beats it, pixel by pixel.

    Args:
        word_of_S: The word of every row in ascending order; K for rows of the background.
        num_words: K.
        is_final: Logits are the scores themselves. Else the scores are the softmax over all rows.
        threshold: Scores below it are background; None leaves it out.
    """

    def __init__(self, word_of_S: Tensor, num_words: int, is_final: bool, threshold: float | None) -> None:
        self.word_of_S = word_of_S
        self.num_words = num_words
        self.word_rows = int((word_of_S < num_words).sum())
        self.is_final = is_final
        self.threshold = threshold
        self.silenced = 0.0 if is_final else -torch.inf
        self.best_word = BestRow()
        self.best_other = BestRow()
        self.log_sum_HW: Tensor | None = None

    def see(self, parts: Iterable[tuple[int, Tensor]]) -> None:
        """Go through all rows.

        Args:
            parts: First row and logits (s, H, W).
        """
        for start, part_sHW in parts:
            words_sHW, others_sHW = part_sHW.tensor_split([max(self.word_rows - start, 0)])
            if len(words_sHW):
                self.best_word.add(start, words_sHW)
            if len(others_sHW):
                self.best_other.add(start + len(words_sHW), others_sHW)
            if self.threshold is not None and not self.is_final:
                sum_HW = part_sHW.logsumexp(dim=0)
                self.log_sum_HW = sum_HW if self.log_sum_HW is None else torch.logaddexp(self.log_sum_HW, sum_HW)

    def silence_small(self, parts: Iterable[tuple[int, Tensor]], share: float) -> None:
        """Give the pixels of words that win few of them to the next best (`suppress_small`), in a second pass.

        Args:
            parts: As in `see`.
            share: Of the pixels that any word wins; before the threshold.
        """
        winner_HW = torch.where(self._beaten_by_other(), self.num_words, self.words())
        area_K = torch.bincount(winner_HW.flatten(), minlength=self.num_words + 1)[:-1]
        is_small_K = area_K <= share * area_K.sum()
        if not self.is_final and not bool((is_small_K & (area_K > 0)).any()):
            return  # Nobody's pixels change hands.
        is_small_S = is_small_K[self.word_of_S[: self.word_rows].to(is_small_K.device)]
        self.best_word = BestRow()
        for start, part_sHW in parts:
            words_sHW = part_sHW[: max(self.word_rows - start, 0)]
            if len(words_sHW):
                is_small_s = is_small_S[start : start + len(words_sHW)]
                self.best_word.add(start, words_sHW.masked_fill(is_small_s[:, None, None], self.silenced))

    def words(self) -> Tensor:
        """The best word of every pixel, (H, W)."""
        assert self.best_word.row_HW is not None
        return self.word_of_S.to(self.best_word.row_HW.device)[self.best_word.row_HW]

    def labels(self) -> Tensor:
        """The best word, or K where the background has more than it."""
        is_other_HW = self._beaten_by_other()
        if self.threshold is not None:
            is_other_HW |= self._word_scores() < self.threshold
        return torch.where(is_other_HW, self.num_words, self.words())

    def _beaten_by_other(self) -> Tensor:
        assert self.best_word.score_HW is not None
        other_HW = self.best_other.score_HW
        return (self.silenced if other_HW is None else other_HW) > self.best_word.score_HW

    def _word_scores(self) -> Tensor:
        assert self.best_word.score_HW is not None
        if self.log_sum_HW is None:
            return self.best_word.score_HW
        return (self.best_word.score_HW - self.log_sum_HW).exp()
