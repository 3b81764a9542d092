"""Where a transformer block keeps the weights of its linear layers, and changing some of their rows."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

PROJECTIONS = ('query', 'key', 'value')
OUT = ('out_proj', 'proj')  # open_clip's and timm's names
ORIGINAL = '.original'
PARAMETRIZATIONS = 'parametrizations.'


@dataclass(frozen=True)
class Slot:
    """Rows of a weight: of ``parts`` equal groups of rows, those numbered ``chosen``.

    Attributes:
        module: Owner of the weight.
        name: Attribute of the weight, (parts * O, C).
        chosen: Numbers of the groups.
        parts: How many groups the weight has; 3 where query, key and value share one.
    """

    module: nn.Module
    name: str
    chosen: tuple[int, ...] = (0,)
    parts: int = 1

    @property
    def weight(self) -> Tensor:
        return getattr(self.module, self.name)


def attention_slots(block: Any, projections: tuple[str, ...]) -> list[Slot]:
    """The weights of the named projections of a block's attention; empty where it has none of them.

    Args:
        block: Of open_clip's or timm's transformers.
        projections: Of 'query', 'key', 'value'.
    """
    attention = getattr(block, 'attn', None)
    chosen = tuple(number for number, name in enumerate(PROJECTIONS) if name in projections)
    if attention is None or not chosen:
        return []
    if isinstance(getattr(attention, 'in_proj_weight', None), Tensor):
        return [Slot(attention, 'in_proj_weight', chosen, len(PROJECTIONS))]
    if isinstance(getattr(attention, 'qkv', None), nn.Linear):
        return [Slot(attention.qkv, 'weight', chosen, len(PROJECTIONS))]
    layers = [getattr(attention, f'{PROJECTIONS[number][0]}_proj', None) for number in chosen]
    return [Slot(layer, 'weight') for layer in layers if isinstance(layer, nn.Linear)]


def linear_slots(block: Any, layers: tuple[str, ...]) -> list[Slot]:
    """As `attention_slots`, and the output projection for 'out' and both layers of the feed-forward part for 'mlp'."""
    slots = attention_slots(block, layers)
    if 'out' in layers and hasattr(block, 'attn'):
        outs = (getattr(block.attn, name, None) for name in OUT)
        slots += [Slot(layer, 'weight') for layer in outs if isinstance(layer, nn.Linear)]
    if 'mlp' in layers and hasattr(block, 'mlp'):
        slots += [Slot(layer, 'weight') for layer in block.mlp.modules() if isinstance(layer, nn.Linear)]
    return slots


class LearnedRows(nn.Module):
    """The chosen rows of a weight as a parameter of its own; the others stay frozen.

    Attributes:
        rows_POC: As many groups as chosen, of O rows each; they start as the weight's.
    """

    chosen: Tensor

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.parts = slot.parts
        self.register_buffer('chosen', torch.tensor(slot.chosen), persistent=False)
        weight_POC = slot.weight.detach().unflatten(0, (slot.parts, -1))
        self.rows_POC = nn.Parameter(weight_POC[list(slot.chosen)].clone())

    def forward(self, weight_RC: Tensor) -> Tensor:
        """The frozen weight to the one that is used."""
        return weight_RC.unflatten(0, (self.parts, -1)).index_copy(0, self.chosen, self.rows_POC).flatten(0, 1)


def plain_name(name: str) -> str:
    """The name of a weight as it was before it was parametrised: 'attn.parametrizations.W.original' is 'attn.W'."""
    return name.replace(PARAMETRIZATIONS, '').removesuffix(ORIGINAL) if name.endswith(ORIGINAL) else name


def merge(tower: nn.Module) -> nn.Module:
    """Write what adapters and learned rows do into the weights: the plain module again, with the same outputs.

    Deep prompts are tokens, not weights, and stay.

    Args:
        tower: Changed in place, and returned.
    """
    for module in list(tower.modules()):
        if parametrize.is_parametrized(module):
            names: list[str] = list(module.parametrizations)  # type: ignore[arg-type]
            for name in names:
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return tower
