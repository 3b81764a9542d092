"""Which weights of a tower learn: named policies."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from vlm_dense.errors import ConfigError
from vlm_dense.vlms.adapters import read_blocks
from vlm_dense.vlms.linear_slots import LearnedRows, Slot, attention_slots
from vlm_dense.vlms.tower import ImageTower

STAGE = re.compile(r'(?:visual\.)?(?:trunk\.)?(?:layer|stages[._]|blocks\.)(\d+)\.')
POSITIONS = ('positional_embedding', 'pos_embed')
LAST_PROJECTION = 'visual.proj'  # open_clip lists it first, and applies it last
NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)

Learner = nn.Parameter | Slot
Read = Collection[int] | None


def _all(tower: ImageTower, read: Read, count: int) -> list[Learner]:
    return list(_parameters(tower, read).values())


def _later_stages(tower: ImageTower, read: Read, count: int) -> list[Learner]:
    every = dict(tower.named_parameters())
    stages = {name: int(found[1]) for name in every if (found := STAGE.match(name))}
    numbers = sorted(set(stages.values()))
    if tower.blocks is not None or count >= len(numbers):
        return []
    return _from(tower, read, next(name for name, number in stages.items() if number == numbers[count]))


def _last_blocks(tower: ImageTower, read: Read, count: int) -> list[Learner]:
    blocks = read_blocks(tower, read)
    if not 1 <= count <= len(blocks):
        return []
    first = id(next(blocks[-count].parameters()))
    return _from(tower, read, next(name for name, p in tower.named_parameters() if id(p) == first))


def _norms(tower: ImageTower, read: Read, count: int) -> list[Learner]:
    ids = {id(p) for module in tower.modules() if isinstance(module, NORMS) for p in module.parameters()}
    return [parameter for parameter in _parameters(tower, read).values() if id(parameter) in ids]


def _biases(tower: ImageTower, read: Read, count: int) -> list[Learner]:
    batch_norms = _batch_norms(tower)
    found = _parameters(tower, read).items()
    return [p for name, p in found if name.endswith('bias') and id(p) not in batch_norms]


def _positions(tower: ImageTower, read: Read, count: int) -> list[Learner]:
    return [p for name, p in _parameters(tower, read).items() if name.rsplit('.', 1)[-1] in POSITIONS]


def _query_value(tower: ImageTower, read: Read, count: int) -> list[Learner]:
    return [slot for block in read_blocks(tower, read) for slot in attention_slots(block, ('query', 'value'))]


POLICIES: dict[str, Callable[[ImageTower, Read, int], list[Learner]]] = {
    'all': _all,
    'stages': _later_stages,
    'blocks': _last_blocks,
    'norms': _norms,
    'biases': _biases,
    'positions': _positions,
    'query_value': _query_value,
}
COUNTED = ('stages', 'blocks')


def tune(tower: ImageTower, policy: str | Sequence[str] = 'none', read: Collection[int] | None = None) -> None:
    """Freeze a tower but for what a policy, or several together, lets learn.

    * 'none': nothing (F-VLM, arXiv:2209.15639; FC-CLIP, arXiv:2308.02487; CLIPSeg, arXiv:2112.10003).
    * 'all': everything (LSeg, arXiv:2201.03546).
    * 'stages:N': a convolutional tower but for its stem and first N stages, and but for its batch norms ('stages:1':
      RegionCLIP, arXiv:2112.09106). Stages are those of open_clip or timm: EfficientNet has seven.
    * 'blocks:N': the last N blocks that are read, and what follows them (MAE, arXiv:2111.06377, section 4.3).
    * 'norms': scales and shifts of all norms (arXiv:2003.00152).
    * 'biases': all but batch norms' (BitFit, arXiv:2106.10199).
    * 'positions': positional embeddings (SAN, arXiv:2302.12242).
    * 'query_value': weights of the queries' and values' projections in each block; with 'positions', CAT-Seg
      (arXiv:2303.11797). Where one weight holds the keys' too, the rows that learn become a parameter of their own,
      see `LearnedRows`; `merge` puts them back.

    Args:
        tower: Changed in place.
        policy: One name, or several.
        read: Ids of the parameters that are read; no other learns. None is all.

    Raises:
        ConfigError: If there is no such policy, or it finds nothing in the tower.
    """
    learners: list[Learner] = []
    for name in [policy] if isinstance(policy, str) else policy:
        found = _find(tower, name, read)
        if not found and name != 'none':
            raise ConfigError(f"tune='{name}': {type(tower).__name__} has no such parts. It has {_known(tower, read)}.")
        learners += found
    tower.requires_grad_(False)
    for learner in learners:
        if isinstance(learner, nn.Parameter):
            learner.requires_grad_(True)
        elif learner.parts == len(learner.chosen):
            learner.weight.requires_grad_(True)
        else:
            parametrize.register_parametrization(learner.module, learner.name, LearnedRows(learner))


def set_modes(root: nn.Module, mode: bool) -> None:
    """Eval mode for what is frozen, ``mode`` for what learns.

    A module learns if a weight in it does, and one without weights (dropout) if all of what surrounds it does.

    Args:
        root: Changed in place.
        mode: Whether what learns is in train mode.
    """
    root.eval()
    if not mode:
        return
    for module in root.modules():
        learn = [parameter.requires_grad for parameter in module.parameters()]
        module.training = module.training or any(learn)
        if learn and all(learn):
            for child in module.children():
                child.training = True


def parameters_behind(outputs: Iterable[Tensor]) -> set[int]:
    """Ids of the parameters that a gradient of the outputs reaches."""
    ids: set[int] = set()
    nodes: list[Any] = [output.grad_fn for output in outputs]
    seen: set[Any] = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            ids.add(id(node.variable))
        nodes += [following for following, _ in node.next_functions]
    return ids


def _find(tower: ImageTower, policy: str, read: Read) -> list[Learner]:
    name, _, count = policy.partition(':')
    if name not in POLICIES or count.isdecimal() != (name in COUNTED):
        return []
    return POLICIES[name](tower, read, int(count or 0))


def _known(tower: ImageTower, read: Read) -> str:
    # A tower with blocks or stages has the last block, and all stages.
    known = {name: f'{name}:{"N" if name in COUNTED else ""}'.removesuffix(':') for name in POLICIES}
    tried = {name: POLICIES[name](tower, read, int(name == 'blocks')) for name in POLICIES}
    return ', '.join(["'none'", *(repr(known[name]) for name, found in tried.items() if found)])


def _parameters(tower: ImageTower, read: Read) -> dict[str, nn.Parameter]:
    return {name: p for name, p in tower.named_parameters() if read is None or id(p) in read}


def _batch_norms(tower: ImageTower) -> set[int]:
    return {id(p) for module in tower.modules() if isinstance(module, _BatchNorm) for p in module.parameters()}


def _from(tower: ImageTower, read: Read, first: str) -> list[Learner]:
    """What is read from a parameter on, but no batch norm."""
    names = [name for name, _ in tower.named_parameters()]
    later = {*names[names.index(first) :], LAST_PROJECTION}
    batch_norms = _batch_norms(tower)
    return [p for name, p in _parameters(tower, read).items() if name in later and id(p) not in batch_norms]
