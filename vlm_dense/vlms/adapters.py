"""Low-rank adapters on the linear layers of a tower's transformer blocks."""

from collections.abc import Collection, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.linear_slots import PROJECTIONS, Slot, linear_slots
from vlm_dense.vlms.tower import ImageTower

LAYERS = (*PROJECTIONS, 'out', 'mlp')


class LowRank(nn.Module):
    """W + (alpha / r) B A on the chosen rows of a weight (LoRA, arXiv:2106.09685, section 4.1).

    B starts at zero, so that nothing changes at first, and A uniform within 1 / sqrt(C), as a linear layer does.

    Args:
        slot: The rows.
        rank: r.
        alpha: Scale.
    """

    chosen: Tensor

    def __init__(self, slot: Slot, rank: int, alpha: float) -> None:
        super().__init__()
        rows, width = slot.weight.shape
        groups = len(slot.chosen)
        self.parts = slot.parts
        self.scale = alpha / rank
        self.register_buffer('chosen', torch.tensor(slot.chosen), persistent=False)
        self.down_PRC = nn.Parameter(torch.empty(groups, rank, width).uniform_(-1 / sqrt(width), 1 / sqrt(width)))
        self.up_POR = nn.Parameter(torch.zeros(groups, rows // slot.parts, rank))

    def forward(self, weight_RC: Tensor) -> Tensor:
        """The frozen weight to the one that is used."""
        # Under autocast the product is in half precision, the weight is not.
        change_POC = (self.scale * self.up_POR @ self.down_PRC).to(weight_RC.dtype)
        return weight_RC.unflatten(0, (self.parts, -1)).index_add(0, self.chosen, change_POC).flatten(0, 1)


def add_adapters(
    tower: ImageTower,
    rank: int = 4,
    alpha: float | None = None,
    layers: Sequence[str] = ('query', 'value'),
    read: Collection[int] | None = None,
) -> None:
    """Put adapters on the linear layers of a transformer's blocks; the tower says the same as before until they learn.

    The weights themselves keep their values and are named as torch's ``parametrize`` names them; `plain_name` gives
    the former name, and `merge` the plain tower.

    Args:
        tower: Changed in place.
        rank: r of `LowRank`.
        alpha: Its scale; None is r, a factor of 1.
        layers: Of 'query', 'key', 'value', 'out' (the attention's output) and 'mlp'.
        read: Ids of the parameters that are read; blocks without any get no adapter. None is all.

    Raises:
        ConfigError: If the tower has no such layers, or a setting makes no sense.
    """
    unknown = [layer for layer in layers if layer not in LAYERS]
    if unknown or not layers or rank < 1:
        raise ConfigError(
            f'adapters rank={rank}, layers={tuple(layers)}: write a rank from 1 and layers of {", ".join(LAYERS)}.'
        )
    slots = [slot for block in read_blocks(tower, read) for slot in linear_slots(block, tuple(layers))]
    if not slots:
        raise ConfigError(
            f'adapters: {type(tower).__name__} has no transformer blocks with {", ".join(layers)}. '
            'Take a vision transformer, or leave adapters out.'
        )
    for slot in slots:
        change = LowRank(slot, rank, rank if alpha is None else alpha).to(slot.weight)
        parametrize.register_parametrization(slot.module, slot.name, change)


def read_blocks(tower: ImageTower, read: Collection[int] | None) -> list[Any]:
    """A tower's transformer blocks of which parameters are read."""
    blocks = [] if tower.blocks is None else list(tower.blocks)
    return [block for block in blocks if read is None or any(id(p) in read for p in block.parameters())]
