"""Rows of all processes in the order of the processes, where each may hold another number of them.

Shapes: n rows of this process, N rows of all processes, F width.

Every process has to call these together, also one without rows.
"""

from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor
from torch.nn import functional


def gather_counts(count: int, device: torch.device) -> list[int]:
    """How many rows each process holds.

    Args:
        count: Rows of this process.
        device: One that the process group communicates on.
    """
    return torch.stack(all_gather(torch.tensor(count, device=device))).tolist()


def gather_rows(rows_nF: Tensor, counts: list[int]) -> Tensor:
    """Rows of all processes, without gradient.

    Args:
        rows_nF: Rows of this process (n, ...); further sizes and the type are the same in all processes.
        counts: Of `gather_counts`.

    Returns:
        (N, ...)
    """
    rows_nF = rows_nF.detach()
    if get_world_size() == 1:
        return rows_nF
    missing = max(counts) - len(rows_nF)
    padded = functional.pad(rows_nF, (0, 0) * (rows_nF.dim() - 1) + (0, missing))
    parts = all_gather(padded.contiguous())
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def own_rows(counts: list[int]) -> slice:
    """Where the rows of this process lie among those of all."""
    start = sum(counts[: get_rank()])
    return slice(start, start + counts[get_rank()])


class GatherRows(torch.autograd.Function):
    """`gather_rows` whose gradient is the sum of the gradients of all processes.

    Each process takes a loss on the gathered rows; a row's gradient is that of the sum of these losses. Backward talks
    to the other processes, so all of them have to run it.
    """

    @staticmethod
    def forward(ctx: Any, rows_nF: Tensor, counts: list[int]) -> Tensor:
        """As `gather_rows`."""
        ctx.counts = counts
        return gather_rows(rows_nF, counts).clone()

    @staticmethod
    def backward(ctx: Any, grad_NF: Tensor) -> tuple[Tensor, None]:
        """The own part of the sum over processes."""
        grad_NF = grad_NF.clone(memory_format=torch.contiguous_format)
        all_reduce(grad_NF)
        return grad_NF[own_rows(ctx.counts)], None
