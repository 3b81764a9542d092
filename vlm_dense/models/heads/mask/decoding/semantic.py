"""One label per pixel, from masks and what they are called.

Shapes: M masks, K words, S = K or, with a background, K + 1 columns, P pixels of a strip, H W pixels of the picture.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vlm_dense.errors import ConfigError
from vlm_dense.models.classifiers import calibrate
from vlm_dense.models.decode_heads.row_maps import BestRow
from vlm_dense.models.heads.mask.decoding.strips import MeanStrips, Strip, Strips

# Matrix products always have this width: another one may choose another kernel, which rounds differently. A GPU takes
# as long to be told about a narrow one.
WORDS_TOGETHER, GPU_WORDS_TOGETHER = 64, 256


class SemanticRules(NamedTuple):
    """How pixels are labelled.

    Args:
        seen_penalty: Subtracted from the score maps of seen words: calibrated stacking (Chao et al., arXiv:1605.04253),
            gamma of ZegFormer (arXiv:2112.07910).
        threshold: Where no word scores as much, the pixel is background; None leaves it out.
        words_at_once: How many words' maps are made at a time, which changes memory only; None for those of one
            matrix product.
    """

    seen_penalty: float = 0.0
    threshold: float | None = None
    words_at_once: int | None = None


class SemanticMaps:
    """The score of word k at a pixel, sum over masks n of p(k | n) m_n, less the penalty where k is seen.

    Source: MaskFormer (arXiv:2107.06278), Sec. 3.4, semantic inference. Exact for any number of words, whose maps are
    never held together.

    Args:
        strips: Masks as probabilities, summed over.
        score_MS: What each mask is called; all windows' masks of all views, in their order. Column K is the background.
        is_base_K: Boolean, True for seen words.
        rules: See there.

    Raises:
        ConfigError: If no word is to be looked at at once.
    """

    def __init__(self, strips: Strips | MeanStrips, score_MS: Tensor, is_base_K: Tensor, rules: SemanticRules) -> None:
        self.together = WORDS_TOGETHER if score_MS.device.type == 'cpu' else GPU_WORDS_TOGETHER
        self.at_once = self.together if rules.words_at_once is None else rules.words_at_once
        if self.at_once < 1:
            raise ConfigError(f'test_cfg.words_at_once={self.at_once}; give a positive number, or leave it out.')
        self.strips, self.score_MS, self.is_base_K, self.rules = strips, score_MS, is_base_K, rules

    def labels(self) -> Tensor:
        """The best word of every pixel, or K where the background has more than it: (H, W) int64."""
        height, width = self.strips.frame.original
        labels_HW = torch.empty(height, width, dtype=torch.long, device=self.score_MS.device)
        for strip in self.strips:
            labels_HW[strip.rows] = self._best(strip).view(-1, width)
        return labels_HW

    def scores(self) -> Tensor:
        """All maps at once, (K, H, W), or (K + 1, H, W) where there is a background; `labels` are their argmax."""
        height, width = self.strips.frame.original
        maps = [torch.cat([part_Ps for _, part_Ps in self._chunks(strip)], dim=1).t() for strip in self.strips]
        scores_SHW = torch.cat(maps, dim=1).view(-1, height, width)
        if self.rules.threshold is None:
            return scores_SHW
        words_KHW, others_sHW = scores_SHW.tensor_split([len(self.is_base_K)])
        floor_1HW = scores_SHW.new_full((1, height, width), self.rules.threshold)
        return torch.cat([words_KHW, torch.cat([floor_1HW, others_sHW]).amax(dim=0, keepdim=True)])

    def _best(self, strip: Strip) -> Tensor:
        words = len(self.is_base_K)
        floor = -torch.inf if self.rules.threshold is None else self.rules.threshold
        floor_P = strip.values_MrW.new_full((strip.values_MrW[0].numel(),), floor)
        best: Any = _BestWord(torch.full_like(floor_P, -torch.inf)) if floor_P.device.type == 'cpu' else BestRow()
        for start, part_Ps in self._chunks(strip):
            words_Ps, others_Ps = part_Ps.tensor_split([max(words - start, 0)], dim=1)
            if words_Ps.shape[1]:
                best.add(start, words_Ps.t())
            if others_Ps.shape[1]:
                floor_P = torch.maximum(floor_P, others_Ps[:, 0])
        return best.row_HW.masked_fill(floor_P > best.score_HW, words)

    def _chunks(self, strip: Strip) -> Iterator[tuple[int, Tensor]]:
        """First word and score maps (P, s), some words after the other, the background last."""
        value_PM = strip.values_MrW.flatten(1).t().contiguous()  # Products are a third faster so.
        score_MS = self.score_MS[strip.masks_M]
        for start in range(0, score_MS.shape[1], self.at_once):
            score_Ms = score_MS[:, start : start + self.at_once]
            words = score_Ms.shape[1]
            score_Ms = functional.pad(score_Ms, (0, -words % self.together))
            with torch.autocast(value_PM.device.type, enabled=False):
                parts = [value_PM @ part_Mw for part_Mw in score_Ms.split(self.together, dim=1)]
            part_Ps = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))[:, :words]
            if self.rules.seen_penalty:
                part_Ps = calibrate(part_Ps.t(), self.is_base_K[start : start + words], self.rules.seen_penalty).t()
            yield start, part_Ps


class _BestWord:
    """A `BestRow` for a processor, which takes several times as long for a maximum with its place as for one without.

    So the place is looked up only where a pixel has a new best word. To know how many these are would make a GPU wait.

    Args:
        score_P: What any word is above.
    """

    def __init__(self, score_P: Tensor) -> None:
        self.score_HW = score_P
        self.row_HW = torch.zeros(len(score_P), dtype=torch.long)

    def add(self, start: int, score_sP: Tensor) -> None:
        """As `BestRow.add`; quick where the scores of a pixel lie together."""
        score_Ps = score_sP.t()
        highest_P = score_Ps.amax(dim=1)
        better_p = (highest_P > self.score_HW).nonzero()[:, 0]
        self.row_HW[better_p] = start + score_Ps[better_p].max(dim=1).indices
        self.score_HW = torch.maximum(self.score_HW, highest_P)
