"""Names of weights by rules: what a name begins with there, and here."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

# Pattern of the beginning of a name, and what stands in its place; the first that matches counts.
Rules = Sequence[tuple[str, str]]
STATISTIC, COUNTER = '.running_mean', '.num_batches_tracked'


def rename(name: str, rules: Rules) -> str | None:
    """The name with its beginning replaced, or None where no rule knows it."""
    for pattern, target in rules:
        found = re.match(pattern, name)
        if found:
            return found.expand(target) + name[found.end() :]
    return None


def numbers_in(names: Iterable[str], pattern: str) -> list[int]:
    """The numbers that stand in the group of a pattern at the beginning of names, each once, in order."""
    return sorted({int(found[1]) for name in names if (found := re.match(pattern, name))})


def add_batch_counters(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, with the counter that torch's batch norms have and detectron2's frozen ones lack."""
    counters = {name.removesuffix(STATISTIC) + COUNTER for name in weights if name.endswith(STATISTIC)}
    return {**weights, **{name: torch.zeros((), dtype=torch.long) for name in sorted(counters - set(weights))}}


def tell_unused(names: Iterable[str], reasons: Rules, owner: str) -> None:
    """Warn of weights that a model has no use for, counted by reason.

    Args:
        names: Theirs.
        reasons: From patterns of names to what they are.
        owner: Whose they are not, as in "the detector's".
    """
    counts = Counter(_reason(name, reasons) for name in names)
    for what, count in counts.items():
        print_log(f'{count} weights are not {owner}: {what}.', logger='current', level=logging.WARNING)


def _reason(name: str, reasons: Rules) -> str:
    known = next((what for pattern, what in reasons if re.match(pattern, name)), None)
    return known or f"names in '{name.split('.', 1)[0]}' that nothing here has"
