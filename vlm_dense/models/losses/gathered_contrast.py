"""Symmetric InfoNCE whose negatives come from all processes.

Shapes: n and m rows of this process on the two sides, D width.

The equations, their sources, the convention for several processes and the memory are those of
`vlm_dense.models.losses.pair_contrast`. CLIP (arXiv:2103.00020), Fig. 3, is the form with one positive per row and a
learned scale, bounded by 100 (Sec. 2.5). RegionCLIP (arXiv:2112.09106), Sec. 3, contrasts regions with the concepts
of their pseudo labels in one direction, where all columns of the same concept are positives: ``symmetric=False`` and
``positives='sum'``, which is how its release joins them.
"""

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.models.losses.gathering import gather_counts, own_rows
from vlm_dense.models.losses.logit_scale import LogitScale
from vlm_dense.models.losses.pair_contrast import CHUNK, ContrastSettings, PairRule, Positives, pair_contrast
from vlm_dense.models.losses.precision import unit_rows
from vlm_dense.registry import MODELS


@MODELS.register_module()
class GatheredContrast(nn.Module):
    """Contrast of paired rows, the rows of other processes included.

    Args:
        scale: Multiplies the cosines; CLIP starts at 1 / 0.07, RegionCLIP stays at 100.
        learn_scale: Whether the scale is learned, as the exponential of a parameter.
        max_scale: Bound of the scale.
        positives: How several positives of a row are joined: 'sum' (MIL-NCE) or 'mean' (SupCon).
        symmetric: Whether the second side's rows have a loss too.
        gather: Whether the rows of other processes count.
        normalize: Bring rows to unit length first.
        chunk: Similarities at a time.
        loss_weight: Factor on the loss.

    Raises:
        ConfigError: If the scale, its bound or the chunk is not positive, or ``positives`` is unknown.
    """

    def __init__(
        self,
        scale: float = 1 / 0.07,
        learn_scale: bool = True,
        max_scale: float = 100.0,
        positives: Positives = 'sum',
        symmetric: bool = True,
        gather: bool = True,
        normalize: bool = True,
        chunk: int = CHUNK,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if positives not in ('sum', 'mean'):
            raise ConfigError(f"GatheredContrast: positives={positives!r}; choose 'sum' or 'mean'.")
        if chunk < 1:
            raise ConfigError(f'GatheredContrast: chunk={chunk}; take at least one similarity at a time.')
        self.logit_scale = LogitScale(scale, learn_scale, max_scale)
        self.positives = positives
        self.symmetric = symmetric
        self.gather = gather
        self.normalize = normalize
        self.chunk = chunk
        self.loss_weight = loss_weight

    def forward(
        self,
        first_nD: Tensor,
        second_mD: Tensor,
        labels: tuple[Tensor, Tensor] | None = None,
        ids: tuple[Tensor, Tensor] | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """This process's part of the loss; all processes have to call together, with the same arguments given.

        Args:
            first_nD: Rows of one side; n may be 0 and may differ between processes.
            second_mD: Rows of the other side.
            labels: Integers of the rows of both sides, (n,) and (m,), that mean the same in all processes
                (`vlm_dense.models.losses.text_keys.text_keys`); equal ones are positives. None pairs row i with row
                i, and needs n = m.
            ids: Integers of the rows of both sides; a pair with equal ones that is not positive, such as the same
                picture or caption drawn twice, is left out of the negatives. None leaves no pair out.
            avg_factor: Divides the sums in place of the numbers of rows and of columns with a positive.
        """
        rule: PairRule = same_label if ids is None else same_label_other_id
        settings = ContrastSettings(rule, self.positives, self.symmetric, self.gather, self.chunk)
        first_label_n, second_label_m = labels or self._row_numbers(first_nD, second_mD)
        first_id_n, second_id_m = ids or (first_label_n, second_label_m)
        facts_nF = torch.stack([first_label_n, first_id_n], dim=1).long()
        facts_mF = torch.stack([second_label_m, second_id_m], dim=1).long()
        if self.normalize:
            first_nD, second_mD = unit_rows(first_nD), unit_rows(second_mD)
        loss = pair_contrast(first_nD, second_mD, self.logit_scale(), facts_nF, facts_mF, settings, avg_factor)
        return self.loss_weight * loss

    def _row_numbers(self, first_nD: Tensor, second_mD: Tensor) -> tuple[Tensor, Tensor]:
        if len(first_nD) != len(second_mD):
            raise ConfigError(
                f'GatheredContrast: {len(first_nD)} rows on one side and {len(second_mD)} on the other; '
                'pass labels that say which belong together.'
            )
        start = 0
        if self.gather and get_world_size() > 1:
            start = own_rows(gather_counts(len(first_nD), first_nD.device)).start
        number_n = torch.arange(start, start + len(first_nD), device=first_nD.device)
        return number_n, number_n


def same_label(facts_nF: Tensor, facts_cF: Tensor) -> tuple[Tensor, Tensor]:
    """Positive where the first fact is equal; everything else is negative."""
    positive_nc = facts_nF[:, None, 0] == facts_cF[None, :, 0]
    return positive_nc, torch.ones_like(positive_nc)


def same_label_other_id(facts_nF: Tensor, facts_cF: Tensor) -> tuple[Tensor, Tensor]:
    """As `same_label`, but pairs whose second fact alone is equal are neither."""
    positive_nc, _ = same_label(facts_nF, facts_cF)
    return positive_nc, positive_nc | (facts_nF[:, None, 1] != facts_cF[None, :, 1])
