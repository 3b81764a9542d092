"""What is random in a sample depends on its place in the run: not on workers, processes or what came before."""

import random
from itertools import chain

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import Runner
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from vlm_dense.engine import seeding
from vlm_dense.engine.runner import WholeRunner
from vlm_dense.engine.seeding import SeededBatches, seed_from, seed_samples

COLLATE = dict(type='pseudo_collate')


class Drawing(Dataset):
    """Samples of an index and three random numbers."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> dict:
        return dict(sample=f'{index} {random.random()} {np.random.rand()} {torch.rand(()).item()}')


class Stream(IterableDataset):
    """Random numbers without end."""

    def __iter__(self):
        while True:
            yield random.random()


def batches(count, builder=WholeRunner.build_dataloader, dataset=None, **settings):
    settings = dict(batch_size=4, num_workers=0, sampler=dict(type='InfiniteSampler'), collate_fn=COLLATE) | settings
    iterator = iter(builder(dict(settings, dataset=dataset or Drawing()), seed=5))
    return [next(iterator)['sample'] for _ in range(count)]


def test_workers_change_nothing():
    own = batches(4)
    assert batches(4, num_workers=2) == own
    assert [*chain(*batches(8, batch_size=2))] == [*chain(*own)]
    assert len({sample.split(' ', 1)[1] for batch in own for sample in batch}) == 16
    assert batches(4, Runner.build_dataloader, num_workers=2) != batches(4, Runner.build_dataloader, num_workers=1)


def test_two_processes_draw_what_one_draws(monkeypatch):
    alone = batches(3)
    shared = []
    for rank in (0, 1):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2))
        monkeypatch.setattr(seeding, 'get_dist_info', lambda rank=rank: (rank, 2))
        shared.append(batches(3, batch_size=2))
    for one, first, second in zip(alone, *shared, strict=True):
        assert {*first, *second} == {*one}


def test_loading_leaves_the_models_random_numbers_alone():
    seeding._seed_host(1, 2)
    expected = torch.rand(3).tolist(), random.random(), np.random.rand()
    seeding._seed_host(1, 2)
    batches(2, num_workers=1)
    batches(2)
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == expected


def test_streams_are_seeded_too():
    def first() -> list[float]:
        loader = DataLoader(Stream(), batch_size=2)
        return next(iter(seed_samples(loader, 5))).tolist()

    drawn = first()
    random.seed(0)
    assert first() == drawn
    assert drawn[0] != drawn[1]


def test_what_was_seen_is_passed_over_without_being_loaded():
    dataset = Drawing()
    sampler = BatchSampler(InfiniteSampler(dataset, seed=5), 4, drop_last=False)
    seeded = SeededBatches(sampler, 5)
    places = [batch.places for _, batch in zip(range(5), seeded, strict=False)]
    sampler.sampler = InfiniteSampler(dataset, seed=5)
    seeded.begin_at(0, 3)
    assert [batch.places for _, batch in zip(range(2), seeded, strict=False)] == places[3:]


def test_epochs_draw_differently_and_by_their_number():
    dataset = Drawing()
    sampler = DefaultSampler(dataset, shuffle=False, seed=0)
    seeded = SeededBatches(BatchSampler(sampler, 4, drop_last=False), 5)
    first = [batch.places for batch in seeded]
    sampler.set_epoch(1)
    second = [batch.places for batch in seeded]
    assert not {place for batch in first for place in batch} & {place for batch in second for place in batch}
    sampler.set_epoch(0)
    assert [batch.places for batch in seeded] == first


def test_seeds_differ_by_place():
    assert seed_from(1, 2) == seed_from(1, 2)
    assert len({seed_from(seed, kind, step) for seed in range(3) for kind in (0, 1) for step in range(50)}) == 300
