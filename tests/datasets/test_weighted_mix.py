"""Draws from several data sets: how often, in which order, shared between processes, and gone on with."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, DataLoader

from vlm_dense.datasets import WeightedMix, weighted_mix
from vlm_dense.errors import ConfigError

SIZES = (10, 1000, 7)
PARTS = ConcatDataset([list(range(size)) for size in SIZES])


def drawn(count: int, weights=(1, 2, 0), seed=3, parts=PARTS) -> list[int]:
    return list(islice(iter(WeightedMix(parts, weights, seed)), count))


def test_parts_come_by_their_weights():
    """9,000 draws; four standard deviations."""
    rows = np.array(drawn(9000, weights=(0.5, 1.5, 1)))
    for first, last, share in ((0, 10, 1 / 6), (10, 1010, 1 / 2), (1010, 1017, 1 / 3)):
        seen = ((rows >= first) & (rows < last)).mean()
        assert abs(seen - share) < 4 * np.sqrt(share * (1 - share) / 9000)
    assert rows.max() < 1017
    assert max(drawn(2000)) < 1010, 'a part with the weight 0 is left out'


def test_each_picture_of_a_part_comes_once_before_any_comes_again():
    rows = drawn(6000, weights=(1, 1, 1))
    for first, size in ((0, 10), (10, 1000), (1010, 7)):
        own = [row - first for row in rows if first <= row < first + size]
        passes = [own[start : start + size] for start in range(0, len(own) - size, size)]
        assert all(sorted(one) == list(range(size)) for one in passes)
        assert len(passes) == 1 or passes[0] != passes[1]


def test_the_seed_alone_decides_and_weights_have_no_unit():
    whole = drawn(3000)
    assert whole == drawn(3000) != drawn(3000, seed=4)
    assert list(islice(iter(WeightedMix(PARTS, (2, 4, 0), 3)), 3000)) == whole


@pytest.mark.parametrize('world_size', [2, 3])
def test_processes_share_the_draws_of_one(monkeypatch, world_size):
    shares = []
    for rank in range(world_size):
        monkeypatch.setattr(weighted_mix, 'get_dist_info', lambda rank=rank: (rank, world_size))
        shares.append(drawn(60))
    monkeypatch.setattr(weighted_mix, 'get_dist_info', lambda: (0, 1))
    together = drawn(60 * world_size)
    # Batches of 5: all processes' batch of a step is the batch of one process.
    for step in range(12):
        batches = [set(share[step * 5 : step * 5 + 5]) for share in shares]
        assert set().union(*batches) == set(together[step * 5 * world_size : (step + 1) * 5 * world_size])
    assert [row for rows in zip(*shares, strict=True) for row in rows] == together


@pytest.mark.parametrize('workers', [0, 2])
def test_a_loader_that_skips_steps_goes_on_as_if_never_stopped(workers):
    def batches(skip):
        loader = DataLoader(PARTS, 4, sampler=WeightedMix(PARTS, (1, 1, 1), 5), num_workers=workers)
        return [batch.tolist() for batch in islice(loader, skip, 6)]

    assert batches(4) == batches(0)[4:]


def test_who_iterates_again_goes_on():
    mix = WeightedMix(PARTS, (1, 1, 1), 0)
    assert [*islice(iter(mix), 5), *islice(iter(mix), 5)] == drawn(10, weights=(1, 1, 1), seed=0)


def test_every_part_is_drawn_evenly():
    counted = Counter(drawn(5000, weights=(1, 0, 0)))
    assert set(counted.values()) == {500}


@pytest.mark.parametrize(
    ('parts', 'weights', 'message'),
    [
        ([1, 2], (1,), 'draws from a ConcatDataset, not from a list'),
        (PARTS, (1, 2), '2 weights for 3 data sets'),
        (PARTS, (1, -1, 0), 'give numbers from 0'),
        (PARTS, (0, 0, 0), 'not all 0'),
        (PARTS, (1, float('nan'), 0), 'give numbers from 0'),
        (ConcatDataset([[1], []]), (1, 1), 'data set 1 of WeightedMix has no pictures'),
    ],
)
def test_wrong_settings(parts, weights, message):
    with pytest.raises(ConfigError, match=message):
        WeightedMix(parts, weights, 0)
