"""The memory returns what the function returns, asks it once per distinct row, and stays within its bound."""

import pytest
import torch
from torch import Tensor

from vlm_dense.errors import ConfigError
from vlm_dense.vlms import ContentMemory, ImageNetTower, TowerBackbone


class Counting:
    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, rows_NX: Tensor) -> tuple[Tensor, Tensor]:
        self.rows += len(rows_NX)
        return rows_NX * 2, rows_NX.sum(1)


def test_each_distinct_row_is_computed_once_and_in_the_asked_order():
    compute, memory = Counting(), ContentMemory(10_000)
    rows = torch.randn(4, 3)
    for order in ([0, 1], [1, 0, 2, 2], [3, 2, 1, 0]):
        doubled, summed = memory(compute, rows[order])
        torch.testing.assert_close(doubled, rows[order] * 2)
        torch.testing.assert_close(summed, rows[order].sum(1))
    assert compute.rows == 4


def test_rows_beyond_the_bound_are_computed_every_time():
    row_bytes = 3 * 4 + 4
    compute, memory = Counting(), ContentMemory(2 * row_bytes)
    rows = torch.randn(3, 3)
    for _ in range(3):
        torch.testing.assert_close(memory(compute, rows)[0], rows * 2)
    assert compute.rows == 3 + 1 + 1


@pytest.mark.parametrize('max_bytes', [0, 1000])
def test_no_rows(max_bytes: int):
    assert ContentMemory(max_bytes)(Counting(), torch.zeros(0, 3))[0].shape == (0, 3)


def test_what_is_kept_is_not_changed_by_the_caller():
    memory = ContentMemory(1000)
    rows = torch.ones(1, 3)
    memory(Counting(), rows)[0].zero_()
    assert (memory(Counting(), rows)[0] == 2).all()


def test_half_precision_rows_are_told_apart():
    memory = ContentMemory(1000)
    rows = torch.tensor([[1.0], [1.0078125]], dtype=torch.bfloat16)
    assert memory(Counting(), rows)[1].tolist() == [1.0, 1.0078125]


def test_backbone_with_memory_gives_the_same_maps_and_only_in_training():
    plain, remembering = TowerBackbone(ImageNetTower()), TowerBackbone(ImageNetTower(), memory_bytes=10**8)
    images = torch.randn(2, 3, 64, 64)
    for backbone in (plain.train(), remembering.eval()):
        backbone(images)
    assert remembering.memory._bytes == 0
    remembering.train()
    for _ in range(2):
        for one, other in zip(plain(images), remembering(images), strict=True):
            torch.testing.assert_close(one, other)
            assert not other.requires_grad
    assert remembering.memory._bytes > 0


def test_a_learning_tower_is_not_remembered():
    with pytest.raises(ConfigError, match='memory_bytes=0'):
        TowerBackbone(ImageNetTower(), tune='all', memory_bytes=1)
