"""Training on several data sets at once, each drawn from as often as its weight says."""

import itertools
import math
from collections.abc import Iterator, Sequence, Sized

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from vlm_dense.errors import ConfigError
from vlm_dense.registry import DATA_SAMPLERS

BLOCK = 4096  # numbers that are Python objects at a time


@DATA_SAMPLERS.register_module()
class WeightedMix(Sampler):
    """Draws without end from the parts of a ``ConcatDataset``, a part at random by weight for every picture.

    Within a part, pictures come in random order, each once before any comes again, whatever the weights. The sequence
    of draws is a function of the seed alone: N processes share it in turn, so that N with batches of B see the pictures
    of one with batches of N B; and a resumed run, whose loop skips the steps that were made, goes on where it was.

    mmdet's samplers do other things: ``MultiDataSampler`` draws pictures with replacement and starts anew every epoch,
    ``MultiSourceSampler`` and ``GroupMultiSourceSampler`` put a fixed number of each part in every batch, which small
    batches round to none.

    Args:
        dataset: A ``ConcatDataset`` of mmengine or mmdet.
        weights: How often each part is drawn from, in any unit; 0 leaves a part out.
        seed: Seed of the draws, the same in all processes; None takes one that they agree on.

    Raises:
        ConfigError: If the data set has no parts, or they do not fit the weights.
    """

    def __init__(self, dataset: Sized, weights: Sequence[float], seed: int | None = None) -> None:
        parts = getattr(dataset, 'datasets', None)
        if parts is None:
            raise ConfigError(
                f'WeightedMix draws from a ConcatDataset, not from a {type(dataset).__name__}; put the sets into one.'
            )
        sizes = [len(part) for part in parts]
        if len(weights) != len(sizes):
            raise ConfigError(f'WeightedMix has {len(weights)} weights for {len(sizes)} data sets; give one for each.')
        if not all(math.isfinite(one) and one >= 0 for one in weights) or not any(weights):
            raise ConfigError(f'the weights of WeightedMix are {list(weights)}; give numbers from 0, not all 0.')
        empty = [row for row, size in enumerate(sizes) if not size and weights[row]]
        if empty:
            raise ConfigError(f'data set {empty[0]} of WeightedMix has no pictures; give it the weight 0.')
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.weights = tuple(map(float, weights))
        self.sizes = tuple(sizes)
        self.rewind()

    def __iter__(self) -> Iterator[int]:
        """Positions in the ``ConcatDataset`` that this process draws."""
        yield from self._own

    def rewind(self) -> None:
        """Begin with the first draw again; `vlm_dense.engine.skipping` passes over those that a run has seen."""
        # As mmengine's InfiniteSampler: who asks for an iterator again goes on, and does not begin anew.
        self._own = itertools.islice(self._draws(), self.rank, None, self.world_size)

    def __len__(self) -> int:
        """Number of pictures of all parts; the draws have no end."""
        return sum(self.sizes)

    def set_epoch(self, epoch: int) -> None:
        """Nothing to do: there are no epochs."""

    def _draws(self) -> Iterator[int]:
        chooser = torch.Generator().manual_seed(self.seed)
        first = (0, *itertools.accumulate(self.sizes))
        orders = [_shuffled(size, [self.seed, row]) for row, size in enumerate(self.sizes)]
        weights = torch.tensor(self.weights, dtype=torch.float64)
        while True:
            for part in torch.multinomial(weights, BLOCK, replacement=True, generator=chooser).tolist():
                yield first[part] + next(orders[part])


def _shuffled(size: int, seed: list[int]) -> Iterator[int]:
    """Numbers below ``size`` in random order, over and over, each time in another one."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(size)
        for start in range(0, size, BLOCK):
            yield from order[start : start + BLOCK].tolist()
