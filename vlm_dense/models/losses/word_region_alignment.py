"""Alignment of regions and words that is learned from which caption belongs to which picture.

Shapes: b pictures and captions of this process, B of all processes, R regions, L tokens, D width.

GLIP (arXiv:2112.03857), Eq. 3, scores regions against words by ``S = O P^T``. Where nobody says which region belongs to
which word, the similarities ``s_rl`` of a picture and a caption are pooled to one score, and pictures and captions are
contrasted by it:

    per='word':    score = 1/L sum_l pool_r s_rl        per='region':  score = 1/R sum_r pool_l s_rl

    pool='attention': sum_r softmax_r(s_rl) s_rl         OVR-CNN (arXiv:2011.10678), grounding score of Sec. 3
    pool='max':       max_r s_rl                         FILIP (arXiv:2111.07783), Sec. 3.1, late interaction
    pool='mean':      1/R sum_r s_rl

    loss = -1/2B sum_i ( log softmax_j(score_ij) + log softmax_j(score_ji) )_{j = i}

the last as OVR-CNN's two grounding losses and CLIP's (arXiv:2103.00020), Fig. 3. Each process takes the loss of its own
pictures and captions among those of all, averaged over its share ``B / processes``; gradients averaged over processes
are those of one process on the concatenated batch.
"""

from typing import Literal, NamedTuple

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.utils.checkpoint import checkpoint

from vlm_dense.errors import ConfigError
from vlm_dense.models.losses.gathering import GatherRows, gather_counts, gather_rows, own_rows
from vlm_dense.models.losses.logit_scale import LogitScale
from vlm_dense.models.losses.precision import unit_rows, widened
from vlm_dense.registry import MODELS

Pool = Literal['attention', 'max', 'mean']
Per = Literal['word', 'region', 'both']


class Parts(NamedTuple):
    """Regions of pictures, or tokens of captions.

    Args:
        rows_BPD: Their embeddings, padded.
        is_part_BP: Boolean, False where padded.
    """

    rows_BPD: Tensor
    is_part_BP: Tensor

    def part(self, where: slice) -> 'Parts':
        """Some of the pictures or captions."""
        return Parts(self.rows_BPD[where], self.is_part_BP[where])


@MODELS.register_module()
class WordRegionAlignment(nn.Module):
    """The loss of the module's docstring; all processes have to call it and run its backward together.

    Args:
        pool: How the similarities of a word to all regions (of a region to all words) become one.
        per: Whose similarities are pooled and then averaged; 'both' is the mean of the two scores.
        normalize: Bring regions and tokens to unit length first; OVR-CNN does not.
        scale: Multiplies the similarities of regions and words.
        learn_scale: Whether the scale is learned.
        max_scale: Its bound.
        chunk: Pictures or captions of other rows at a time: what is made is b x chunk x R x L large.
        loss_weight: Factor on the loss.

    Raises:
        ConfigError: If a choice is unknown, or the scale or chunk out of range.
    """

    def __init__(
        self,
        pool: Pool = 'attention',
        per: Per = 'word',
        normalize: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
        max_scale: float = 100.0,
        chunk: int = 16,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if pool not in ('attention', 'max', 'mean') or per not in ('word', 'region', 'both'):
            raise ConfigError(
                f"WordRegionAlignment: pool={pool!r}, per={per!r}; choose pool 'attention', 'max' or 'mean' and per "
                "'word', 'region' or 'both'."
            )
        if chunk < 1:
            raise ConfigError(f'WordRegionAlignment: chunk={chunk}; take at least one picture at a time.')
        self.logit_scale = LogitScale(scale, learn_scale, max_scale)
        self.pool: Pool = pool
        self.per: Per = per
        self.normalize = normalize
        self.chunk = chunk
        self.loss_weight = loss_weight

    def forward(self, region_bRD: Tensor, is_region_bR: Tensor, token_bLD: Tensor, is_token_bL: Tensor) -> Tensor:
        """This process's part of the loss.

        Args:
            region_bRD: Regions of every picture, padded; b and R may differ between processes, and b may be 0.
            is_region_bR: Boolean, False where padded.
            token_bLD: Tokens of the picture's caption, padded.
            is_token_bL: Boolean, False where padded.
        """
        regions, tokens = self._parts(region_bRD, is_region_bR), self._parts(token_bLD, is_token_bL)
        counts = gather_counts(len(region_bRD), region_bRD.device)
        own, share = own_rows(counts), max(sum(counts), 1) / len(counts)
        target_b = torch.arange(own.start, own.stop, device=region_bRD.device)
        to_captions_bB = self._scores(regions, _gathered(tokens, counts))
        to_pictures_bB = self._scores(_gathered(regions, counts), tokens)
        summed = cross_entropy(to_captions_bB, target_b, reduction='sum')
        summed = summed + cross_entropy(to_pictures_bB.t(), target_b, reduction='sum')
        return self.loss_weight * summed / (2 * share)

    def _parts(self, rows_bPD: Tensor, is_part_bP: Tensor) -> Parts:
        return Parts(unit_rows(rows_bPD) if self.normalize else widened(rows_bPD), is_part_bP)

    def _scores(self, regions: Parts, tokens: Parts) -> Tensor:
        """Of all pairs, chunks of the longer side at a time and taken again in backward."""
        args = (self.logit_scale(), self.pool, self.per)
        by_caption = len(tokens.rows_BPD) >= len(regions.rows_BPD)
        longer = tokens if by_caption else regions
        found = []
        for start in range(0, max(len(longer.rows_BPD), 1), self.chunk):
            some = longer.part(slice(start, start + self.chunk))
            pair = (regions, some) if by_caption else (some, tokens)
            found.append(checkpoint(alignment_scores, *pair, *args, use_reentrant=False))
        return torch.cat(found, dim=1 if by_caption else 0)


def alignment_scores(regions: Parts, tokens: Parts, scale: Tensor, pool: Pool, per: Per) -> Tensor:
    """Score of every picture with every caption (pictures, captions); 0 where a picture or caption is empty.

    Args:
        regions: Of the pictures.
        tokens: Of the captions.
        scale: Multiplies the similarities, ().
        pool: See the module's docstring.
        per: As well.
    """
    with torch.autocast(scale.device.type, enabled=False):
        similar_BCRL = scale * torch.einsum('brd,cld->bcrl', regions.rows_BPD, tokens.rows_BPD)
        is_region_B1R, is_token_1CL = regions.is_part_BP[:, None], tokens.is_part_BP[None]
        scores = []
        if per != 'region':
            pooled_BCL = _pooled(similar_BCRL.transpose(2, 3), is_region_B1R[:, :, None], pool)
            scores.append(_mean(pooled_BCL, is_token_1CL))
        if per != 'word':
            scores.append(_mean(_pooled(similar_BCRL, is_token_1CL[:, :, None], pool), is_region_B1R))
        return torch.stack(scores).mean(dim=0)


def _pooled(similar: Tensor, is_part: Tensor, pool: Pool) -> Tensor:
    """Over the last dimension."""
    if pool == 'mean':
        return _mean(similar, is_part)
    # Finite, so that a picture without regions gives numbers, which the next line leaves out.
    hidden = similar.masked_fill(~is_part, torch.finfo(similar.dtype).min)
    pooled = hidden.amax(dim=-1) if pool == 'max' else (hidden.softmax(dim=-1) * similar).sum(dim=-1)
    return torch.where(is_part.any(dim=-1), pooled, 0)


def _mean(values: Tensor, is_part: Tensor) -> Tensor:
    return values.masked_fill(~is_part, 0).sum(dim=-1) / is_part.sum(dim=-1).clamp_min(1)


def _gathered(parts: Parts, counts: list[int]) -> Parts:
    """Of all processes, as wide as the widest."""
    if get_world_size() == 1:
        return parts
    missing = max(gather_counts(parts.rows_BPD.shape[1], parts.rows_BPD.device)) - parts.rows_BPD.shape[1]
    rows_bPD = GatherRows.apply(pad(parts.rows_BPD, (0, 0, 0, missing)), counts)
    return Parts(rows_bPD, gather_rows(pad(parts.is_part_BP, (0, missing)), counts))
