"""Contrast of two sets of rows that are spread over processes, without the matrix between them.

Shapes: n and m rows of this process on the two sides, N and M rows of all processes, D width, F numbers about a row,
c rows of a chunk.

With ``s_ij = scale * <a_i, b_j>``, row i's positives ``P_i`` and counted pairs ``C_i`` (positives and negatives),

    sum:   l_i = -log( sum_{j in P_i} exp s_ij / sum_{j in C_i} exp s_ij )          MIL-NCE, arXiv:1912.06430, Eq. 1
    mean:  l_i = -1/|P_i| sum_{j in P_i} log( exp s_ij / sum_{j in C_i} exp s_ij )  SupCon, arXiv:2004.11362, Eq. 2

and with one positive per row both are InfoNCE (arXiv:1807.03748, Eq. 4). The columns have the same loss with a and b
exchanged; the whole is ``L = (sum_i l_i / Z_a + sum_j l_j / Z_b) / 2`` over rows and columns that have a positive.

Gradients are exact across processes. Each of W processes returns W times its own rows' and columns' share of L, so that
the mean over processes is L, and data parallelism, which averages gradients, arrives at the gradient of L: that of one
process on the concatenated batch. For that a row needs the other processes' rows and, of each, the logarithm of its
denominator: both are gathered in forward, and backward talks to nobody. The gradient of a row includes its share in the
other processes' losses, on the understanding that every process multiplies its loss by the same factor.

Memory: the gathered rows (N + M) x D, three numbers about each, and one chunk of n x c or m x c similarities, of a set
size; the similarities are taken again in backward.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from mmengine.dist import get_world_size
from torch import Tensor
from torch.autograd.function import once_differentiable

from vlm_dense.models.losses.gathering import gather_counts, gather_rows, own_rows
from vlm_dense.models.losses.precision import wide_type

CHUNK = 1 << 22  # 16 MiB in float32.
Positives = Literal['sum', 'mean']
# (facts_nF, facts_cE) of rows of a and of b -> the pairs that are positive, and those that are positive or negative.
PairRule = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Side(NamedTuple):
    """One of the two sides of the contrast.

    Args:
        rows_ND: Rows of all processes.
        facts_NF: Integers about every row, from which the rule tells the pairs.
        own: Where the rows of this process are.
    """

    rows_ND: Tensor
    facts_NF: Tensor
    own: slice


class ContrastSettings(NamedTuple):
    """What does not change between calls.

    Args:
        rule: Which pairs are positive or negative; called with facts of rows of a and of rows of b.
        positives: How several positives of a row are joined; see the module's docstring.
        symmetric: Whether the columns have a loss too; without it ``L`` is the rows' alone, not halved.
        gather: Whether the rows of other processes count.
        chunk: Similarities n x c at a time; at least one column.
    """

    rule: PairRule
    positives: Positives = 'sum'
    symmetric: bool = True
    gather: bool = True
    chunk: int = CHUNK


def pair_contrast(
    a_nD: Tensor,
    b_mD: Tensor,
    scale: Tensor,
    facts_nF: Tensor,
    facts_mE: Tensor,
    settings: ContrastSettings,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """The loss of the module's docstring, taken in float32 or float64.

    Args:
        a_nD: Rows of this process; n may be 0 and may differ between processes.
        b_mD: Rows of the other side.
        scale: Factor on the products, ().
        facts_nF: Integers about the rows of a, as the rule wants them; as many in all processes.
        facts_mE: Integers about the rows of b.
        settings: See `ContrastSettings`.
        avg_factor: ``Z_a = Z_b`` divided by W, the same in all processes (mmdet's ``reduce_mean`` of a count); None
            takes the numbers of rows and of columns that have a positive.
    """
    wide = wide_type(a_nD)
    return _PairContrast.apply(a_nD.to(wide), b_mD.to(wide), scale.to(wide), facts_nF, facts_mE, settings, avg_factor)


class _PairContrast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        a_nD: Tensor,
        b_mD: Tensor,
        scale: Tensor,
        facts_nF: Tensor,
        facts_mE: Tensor,
        settings: ContrastSettings,
        avg_factor: float | Tensor | None,
    ) -> Tensor:
        with torch.autocast(a_nD.device.type, enabled=False):
            a, b = _side(a_nD, facts_nF, settings.gather), _side(b_mD, facts_mE, settings.gather)
            stats_N3, loss_a = _direction(a, b, scale, settings, avg_factor)
            if settings.symmetric:
                stats_M3, loss_b = _direction(b, a, scale, _exchanged(settings), avg_factor)
                loss = (loss_a + loss_b) / 2
                stats_N3[:, 2] /= 2
                stats_M3[:, 2] /= 2
            else:
                stats_M3, loss = stats_N3.new_zeros(len(b.rows_ND), 3), loss_a
        ctx.save_for_backward(a.rows_ND, b.rows_ND, scale, a.facts_NF, b.facts_NF, stats_N3, stats_M3)
        ctx.own, ctx.settings = (a.own, b.own), settings
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a_ND, b_MD, scale, facts_NF, facts_MF, stats_N3, stats_M3 = ctx.saved_tensors
        a, b = Side(a_ND, facts_NF, ctx.own[0]), Side(b_MD, facts_MF, ctx.own[1])
        with torch.autocast(a_ND.device.type, enabled=False):
            grad_nD, slope_a = _slopes(a, b, scale, stats_N3, stats_M3, ctx.settings)
            grad_mD, slope_b = _slopes(b, a, scale, stats_M3, stats_N3, _exchanged(ctx.settings))
        return grad * grad_nD, grad * grad_mD, grad * (slope_a + slope_b), None, None, None, None


def _exchanged(settings: ContrastSettings) -> ContrastSettings:
    def rule(facts_mE: Tensor, facts_cF: Tensor) -> tuple[Tensor, Tensor]:
        positive_cm, counted_cm = settings.rule(facts_cF, facts_mE)
        return positive_cm.t(), counted_cm.t()

    return settings._replace(rule=rule)


def _side(rows_nD: Tensor, facts_nF: Tensor, gather: bool) -> Side:
    if not gather:
        return Side(rows_nD.detach(), facts_nF, slice(0, len(rows_nD)))
    counts = gather_counts(len(rows_nD), rows_nD.device)
    return Side(gather_rows(rows_nD, counts), gather_rows(facts_nF, counts), own_rows(counts))


def _chunks(rows: int, side: Side, chunk: int) -> list[slice]:
    step = max(chunk // max(rows, 1), 1)
    return [slice(start, start + step) for start in range(0, len(side.rows_ND), step)]


def _direction(
    a: Side, b: Side, scale: Tensor, settings: ContrastSettings, avg_factor: float | Tensor | None
) -> tuple[Tensor, Tensor]:
    """What backward needs of all rows of a (denominator, positives, factor), and the loss of the own ones."""
    own_nD, facts_nF = a.rows_ND[a.own], a.facts_NF[a.own]
    floor_n = own_nD.new_full((len(own_nD),), -torch.inf)
    denominator_n, joint_n = floor_n, floor_n
    summed_n, count_n = torch.zeros_like(floor_n), torch.zeros_like(floor_n)
    for part in _chunks(len(own_nD), b, settings.chunk):
        logits_nc = scale * (own_nD @ b.rows_ND[part].t())
        positive_nc, counted_nc = settings.rule(facts_nF, b.facts_NF[part])
        counted_n = logits_nc.masked_fill(~counted_nc, -torch.inf).logsumexp(dim=1)
        denominator_n = torch.logaddexp(denominator_n, counted_n)
        if settings.positives == 'sum':
            positive_n = logits_nc.masked_fill(~positive_nc, -torch.inf).logsumexp(dim=1)
            joint_n = torch.logaddexp(joint_n, positive_n)
        else:
            summed_n = summed_n + logits_nc.masked_fill(~positive_nc, 0).sum(dim=1)
        count_n = count_n + positive_nc.sum(dim=1)
    has_n = count_n > 0
    numerator_n = joint_n if settings.positives == 'sum' else summed_n / count_n.clamp_min(1)
    losses_n = torch.where(has_n, denominator_n - numerator_n, 0)
    target_n = joint_n if settings.positives == 'sum' else count_n
    stats_n3 = torch.stack([denominator_n, target_n, torch.ones_like(count_n)], dim=1)
    stats_n3 = torch.where(has_n[:, None], stats_n3, 0)
    return _normalised(stats_n3, losses_n, settings.gather, avg_factor)


def _normalised(
    stats_n3: Tensor, losses_n: Tensor, gather: bool, avg_factor: float | Tensor | None
) -> tuple[Tensor, Tensor]:
    if gather and get_world_size() > 1:
        counts = gather_counts(len(stats_n3), stats_n3.device)
        stats_N3 = gather_rows(stats_n3, counts)
        processes = len(counts)
    else:
        stats_N3, processes = stats_n3.clone(), 1
    if avg_factor is None:
        avg_factor = stats_N3[:, 2].sum().clamp_min(1) / processes
    stats_N3[:, 2] /= avg_factor
    return stats_N3, losses_n.sum() / avg_factor


def _slopes(
    a: Side, b: Side, scale: Tensor, stats_N3: Tensor, stats_M3: Tensor, settings: ContrastSettings
) -> tuple[Tensor, Tensor]:
    """Gradient of the own rows of a through both directions, and of the scale through their own direction."""
    own_nD, facts_nF, stats_n3 = a.rows_ND[a.own], a.facts_NF[a.own], stats_N3[a.own]
    grad_nD, slope = torch.zeros_like(own_nD), torch.zeros_like(scale)
    for part in _chunks(len(own_nD), b, settings.chunk):
        product_nc = own_nD @ b.rows_ND[part].t()
        positive_nc, counted_nc = settings.rule(facts_nF, b.facts_NF[part])
        logits_nc = scale * product_nc
        mine_nc = _pull(logits_nc, positive_nc, counted_nc, stats_n3, settings.positives)
        slope = slope + (mine_nc * product_nc).sum()
        theirs_cn = _pull(logits_nc.t(), positive_nc.t(), counted_nc.t(), stats_M3[part], settings.positives)
        grad_nD = grad_nD + scale * ((mine_nc + theirs_cn.t()) @ b.rows_ND[part])
    return grad_nD, slope


def _pull(logits_rc: Tensor, positive_rc: Tensor, counted_rc: Tensor, stats_r3: Tensor, positives: Positives) -> Tensor:
    """Derivative of the losses of rows r by their logits, given denominator, positives and factor of each."""
    denominator_r1, target_r1, factor_r1 = stats_r3.split(1, dim=1)
    used_rc = counted_rc & (factor_r1 > 0)
    share_rc = torch.exp(logits_rc - denominator_r1).masked_fill(~used_rc, 0)
    if positives == 'sum':
        wanted_rc = torch.exp(logits_rc - target_r1)
    else:
        wanted_rc = (1 / target_r1.clamp_min(1)).expand_as(logits_rc)
    return factor_r1 * (share_rc - wanted_rc.masked_fill(~(used_rc & positive_rc), 0))
