"""Memory and time per GPU from what a step keeps and computes; every line is a formula over counted numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from memory_parts.measuring import Step
from torch import nn

GIB = 2**30
FLOAT = 4  # bytes
ADAM_STATES = 2


@dataclass(frozen=True)
class Assumptions:
    """What no count gives.

    Attributes:
        peak: Operations per second of one GPU at its best.
        utilisation: The share of it that training reaches.
        ema: An averaged copy of the weights is kept.
    """

    peak: float
    utilisation: float
    ema: bool


@dataclass(frozen=True)
class Weights:
    """Numbers of parameters: all of them, those that learn, and those that are gathered at once."""

    total: int
    learned: int
    block: int


def count_weights(model: nn.Module, blocks: tuple[str, ...]) -> Weights:
    """Count a model's parameters.

    Args:
        model: Any model.
        blocks: Class names of what is gathered one by one when parameters are sharded; the rest is gathered together.
    """
    parameters = {id(one): one for one in model.parameters()}
    learned = {key: one.numel() for key, one in parameters.items() if one.requires_grad}
    inside: set[int] = set()
    largest = 0
    for module in model.modules():
        if type(module).__name__ in blocks:
            own = {id(one) for one in module.parameters()} & learned.keys()
            inside |= own
            largest = max(largest, sum(learned[key] for key in own))
    outside = sum(count for key, count in learned.items() if key not in inside)
    return Weights(
        total=sum(one.numel() for one in parameters.values()),
        learned=sum(learned.values()),
        block=outside + largest,
    )


def parts(model: nn.Module) -> Mapping[str, int]:
    """Parameters by part of the model."""
    return {name: sum(one.numel() for one in part.parameters()) for name, part in model.named_children()}


def memory(weights: Weights, step: Step, assumed: Assumptions, shards: int) -> Mapping[str, float]:
    """GiB per GPU.

    Args:
        weights: Of the model.
        step: Of one GPU.
        assumed: Whether an average is kept.
        shards: Among how many GPUs parameters, gradients and states are shared out; 1: each has all.
    """
    rows = {
        'weights, float32': FLOAT * (weights.total - weights.learned + weights.learned / shards),
        'gradients, float32': FLOAT * weights.learned / shards,
        'AdamW, 2 x float32': ADAM_STATES * FLOAT * weights.learned / shards,
        'average of the weights': FLOAT * weights.total if assumed.ema else 0,
        # torch's data parallelism reduces copies of the gradients unless it is told otherwise.
        'buckets of gradients': 0 if shards > 1 else FLOAT * weights.learned,
        'gathered weights and gradients': 2 * FLOAT * weights.block if shards > 1 else 0,
        'copies of weights in bfloat16': step.weight_copies,
        'activations': step.activations,
    }
    rows['sum'] = sum(rows.values())
    return {name: size / GIB for name, size in rows.items()}


def seconds(step: Step, assumed: Assumptions) -> float:
    """Time of one step without communication and loading."""
    return (step.forward + step.backward) / (assumed.peak * assumed.utilisation)


def table(rows: list[list[str]]) -> Iterator[str]:
    """Lines of a Markdown table; the first row is its head."""
    for number, row in enumerate(rows):
        yield f'| {" | ".join(row)} |'
        if number == 0:
            yield f'|{"|".join([" --- ", *(" ---: " for _ in row[1:])])}|'
