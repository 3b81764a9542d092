"""Random numbers of a training depend on where they are drawn, not on what was drawn before.

A sample's transforms are seeded by the sample's place in the run, a step's dropout and sampling by the step. So a run
that was stopped goes on with the numbers that it would have drawn, whatever the number of loader workers, and the
same global batch is transformed in the same way by one process and by several.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from vlm_dense.registry import HOOKS

SAMPLES, STEPS = 0, 1


def seed_from(*place: int) -> tuple[int, int]:
    """Two 32-bit seeds, for numpy and for torch, from non-negative numbers that name a place in a run."""
    first, second = np.random.SeedSequence(place).generate_state(2)
    return int(first), int(second)


class SeededBatch:
    """The indices of one batch; iterating over them seeds the random numbers of each sample in turn.

    torch's loaders iterate over the indices of a batch where they fetch its samples, in a worker or not. What was
    drawn before in that process goes on afterwards as if nothing had happened.

    Args:
        indices: What the batch sampler chose.
        places: Per index the numbers that name the sample's place in the run.
    """

    def __init__(self, indices: Sequence[Any], places: Sequence[tuple[int, ...]]) -> None:
        self.indices, self.places = indices, places

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Any]:
        with _own_numbers():
            for index, place in zip(self.indices, self.places, strict=True):
                _seed_host(*seed_from(*place))
                yield index


class SeededBatches:
    """A batch sampler whose samples are transformed with random numbers of their own.

    Args:
        batches: The batch sampler, of this process.
        seed: Of the run, the same in all processes.
    """

    def __init__(self, batches: Iterable[Sequence[Any]], seed: int) -> None:
        self.batches, self.seed = batches, seed
        self.begin_at(0, 0)

    def begin_at(self, epoch: int, skip: int) -> None:
        """Let the next pass be the given one, without its first ``skip`` batches."""
        self._epoch, self._skip = epoch, skip

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['batches'], name)

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[SeededBatch]:
        """Go through the batches once."""
        rank, world_size = get_dist_info()
        # A sampler that is told its epoch knows better than a count of passes, which starts anew with the process.
        epoch = getattr(getattr(self.batches, 'sampler', None), 'epoch', self._epoch)
        skip = self._skip
        self.begin_at(self._epoch + 1, 0)
        for number, indices in enumerate(self.batches):
            if number < skip:
                continue
            first = number * getattr(self.batches, 'batch_size', len(indices))
            places = [(self.seed, SAMPLES, epoch, (first + i) * world_size + rank) for i in range(len(indices))]
            yield SeededBatch(indices, places)


def seed_samples(loader: DataLoader, seed: int | None) -> DataLoader:
    """Let a loader seed every sample; without a seed, or without batches, it stays as it is.

    Its workers' own seeds no longer come from the random numbers of the model.
    """
    if seed is not None and loader.batch_sampler is not None:
        # torch forbids to assign it: a new loader would lose what mmengine has set on this one.
        loader.__dict__['batch_sampler'] = SeededBatches(loader.batch_sampler, seed)
        loader.generator = torch.Generator().manual_seed(seed)
    return loader


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds dropout, sampling and all else that is random in a training step by the step and the process."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed python, numpy and torch, on all devices."""
        rank, _ = get_dist_info()
        first, second = seed_from(runner.seed, STEPS, runner.iter, rank)
        _seed_host(first, second)
        torch.manual_seed(second)


def _seed_host(first: int, second: int) -> None:
    random.seed(first)
    np.random.seed(first)
    torch.default_generator.manual_seed(second)


@contextmanager
def _own_numbers() -> Iterator[None]:
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
