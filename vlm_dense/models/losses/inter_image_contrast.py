"""Contrast of regions with the words of all pictures, as an auxiliary loss of a grounding head.

Shapes: B pictures, N anchors, L tokens, C region width, T text width, n chosen regions and m tokens of this process.

Source: GLIPv2 (arXiv:2206.05836), Sec. 3 (inter-image region-word contrastive learning), and its release's constants:
positive anchors, at most 100 of a picture at random; regions and tokens from before the fusion, each through one layer
to 64 channels and to unit length; ``s_ij = scale * cos``, scale learned from 1; cross entropy in both directions over
the regions and tokens of all pictures of all processes, several positives averaged

    L = 1/2 ( sum_i l_i + sum_j l_j ) / (number of positive anchors),   l_i = -1/|P_i| sum_{j in P_i} log softmax_j s_ij

and 1 as the loss's weight. A region's positives are its tokens in its own text. Of other texts, paper and release add
the tokens of the same class where both texts are lists of words of a detection set: in a caption a phrase has a meaning
of its own. We differ in two things. Equal phrases that are not both from lists are left out of the negatives, where the
release has them among these. And the gradients are exact across processes
(`vlm_dense.models.losses.pair_contrast`), where the release's stop at the rows of other processes.
"""

from functools import partial

import torch
from mmdet.utils import reduce_mean
from mmengine.dist import get_rank
from torch import Tensor, nn
from torch.nn.functional import pad

from vlm_dense.models.grounding import TextTokens, TextWords
from vlm_dense.models.losses.gathering import gather_counts
from vlm_dense.models.losses.logit_scale import LogitScale
from vlm_dense.models.losses.pair_contrast import CHUNK, ContrastSettings, pair_contrast
from vlm_dense.models.losses.precision import unit_rows
from vlm_dense.models.losses.text_keys import NO_KEY
from vlm_dense.registry import MODELS

BITS = 62  # Tokens in one integer, its sign left alone.
NO_REGION_KEY = NO_KEY - 1  # Equals no token's key.


@MODELS.register_module()
class InterImageContrast(nn.Module):
    """The loss of the module's docstring; all processes have to call it together.

    Args:
        region_width: C.
        text_width: T.
        width: Channels that both are brought to.
        max_regions: At most so many positive anchors of a picture.
        scale: Where the factor on the cosines starts.
        max_scale: Its bound.
        chunk: Similarities at a time.
        loss_weight: Factor on the loss.
    """

    def __init__(
        self,
        region_width: int = 256,
        text_width: int = 768,
        width: int = 64,
        max_regions: int = 100,
        scale: float = 1.0,
        max_scale: float = 100.0,
        chunk: int = CHUNK,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.region_projection = nn.Linear(region_width, width)
        self.text_projection = nn.Linear(text_width, width)
        for layer in (self.region_projection, self.text_projection):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.logit_scale = LogitScale(scale, bound=max_scale)
        self.max_regions = max_regions
        self.chunk = chunk
        self.loss_weight = loss_weight

    def forward(
        self,
        region_BNC: Tensor,
        positive_BNL: Tensor,
        text: TextTokens,
        words: TextWords | None = None,
    ) -> dict[str, Tensor]:
        """This process's part of the loss, under ``loss``.

        Args:
            region_BNC: Every anchor's features from before the fusion.
            positive_BNL: Above 0 where the anchor belongs to the token.
            text: The pictures' texts; ``embedded_BLC`` is read.
            words: Their words, which tell equal phrases of different texts; None knows of none.
        """
        positive_BNL = positive_BNL > 0
        chosen_n2, count = self._choose(positive_BNL.any(dim=2))
        if words is None:
            phrase_BL = torch.full_like(text.is_token_BL, NO_KEY, dtype=torch.int64)
            words = TextWords(phrase_BL, text.is_token_BL.new_ones(len(region_BNC)))
        positive_nL = positive_BNL[tuple(chosen_n2.unbind(dim=1))]
        facts_nF, facts_m4, integers = _facts(chosen_n2[:, 0], positive_nL, text.is_token_BL, *words)
        loss = pair_contrast(
            unit_rows(self.region_projection(region_BNC[tuple(chosen_n2.unbind(dim=1))])),
            unit_rows(self.text_projection(text.embedded_BLC[text.is_token_BL])),
            self.logit_scale(),
            facts_nF,
            facts_m4,
            ContrastSettings(partial(word_pairs, integers=integers), 'mean', chunk=self.chunk),
            reduce_mean(count).clamp_min(1),
        )
        return {'loss': self.loss_weight * loss}

    def _choose(self, is_positive_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Picture and anchor of the chosen ones, and how many there were to choose from."""
        found = [is_positive_N.nonzero()[:, 0] for is_positive_N in is_positive_BN]
        chosen = [
            anchor_n[torch.randperm(len(anchor_n), device=anchor_n.device)[: self.max_regions]] for anchor_n in found
        ]
        rows = [torch.stack([torch.full_like(one, picture), one], dim=1) for picture, one in enumerate(chosen)]
        return torch.cat(rows), is_positive_BN.sum().float()


def word_pairs(facts_nF: Tensor, facts_c4: Tensor, integers: int) -> tuple[Tensor, Tensor]:
    """Which tokens are a region's positives, and which are positives or negatives.

    Args:
        facts_nF: Of regions: picture, whether its text is a list, its tokens as bits of so many integers, its keys.
        facts_c4: Of tokens: picture, whether its text is a list, place in the text, key.
        integers: So many hold a region's tokens.
    """
    picture_n, list_n, bits_nW, keys_nP = (
        facts_nF[:, 0],
        facts_nF[:, 1],
        facts_nF[:, 2 : 2 + integers],
        facts_nF[:, 2 + integers :],
    )
    picture_c, list_c, place_c, key_c = facts_c4.unbind(dim=1)
    at_home_nc = picture_n[:, None] == picture_c
    named_nc = (bits_nW.index_select(1, place_c // BITS) >> (place_c % BITS)).bitwise_and_(1).bool()
    alike_nc = torch.zeros_like(at_home_nc)
    for key_n in keys_nP.unbind(dim=1):
        alike_nc |= key_n[:, None] == key_c
    linked_nc = alike_nc & (list_n[:, None] & list_c).bool()
    positive_nc = torch.where(at_home_nc, named_nc, linked_nc)
    return positive_nc, positive_nc | at_home_nc | ~alike_nc


def _facts(
    picture_n: Tensor, positive_nL: Tensor, is_token_BL: Tensor, phrase_BL: Tensor, is_list_B: Tensor
) -> tuple[Tensor, Tensor, int]:
    """What `word_pairs` wants to know about the regions and tokens of this process."""
    number_B = torch.arange(len(is_list_B), device=is_list_B.device) + (get_rank() << 32)
    about_B2 = torch.stack([number_B, is_list_B.long()], dim=1)
    integers = -(-max(gather_counts(positive_nL.shape[1], positive_nL.device)) // BITS)
    keys_nP = _region_keys(positive_nL, phrase_BL[picture_n])
    facts_nF = torch.cat([about_B2[picture_n], _packed(positive_nL, integers), keys_nP], dim=1)
    source_m, place_m = is_token_BL.nonzero().unbind(dim=1)
    about_m2 = torch.stack([place_m, phrase_BL[is_token_BL]], dim=1)
    return facts_nF, torch.cat([about_B2[source_m], about_m2], dim=1), integers


def _packed(positive_nL: Tensor, integers: int) -> Tensor:
    """Booleans as bits of integers (n, integers)."""
    bits_nWb = pad(positive_nL, (0, integers * BITS - positive_nL.shape[1])).unflatten(1, (integers, BITS)).long()
    return (bits_nWb << torch.arange(BITS, device=bits_nWb.device)).sum(dim=2)


def _region_keys(positive_nL: Tensor, phrase_nL: Tensor) -> Tensor:
    """The different keys of each region's tokens (n, P), P the most that a region of any process has."""
    keys_nL = torch.where(positive_nL & (phrase_nL != NO_KEY), phrase_nL, NO_REGION_KEY).sort(dim=1).values
    again_nL = pad(keys_nL[:, 1:] == keys_nL[:, :-1], (1, 0))
    keys_nL = keys_nL.masked_fill(again_nL, NO_REGION_KEY).sort(dim=1, descending=True).values
    mine = int((keys_nL != NO_REGION_KEY).sum(dim=1).max()) if len(keys_nL) else 0
    most = max(gather_counts(mine, keys_nL.device))
    return pad(keys_nL[:, :most], (0, max(most - keys_nL.shape[1], 0)), value=NO_REGION_KEY)
