import copy

import pytest
import torch
from torch import nn

from vlm_dense.registry import MODELS
from vlm_dense.vlms import FrozenTower, ImageTower


class BlockTower(ImageTower):
    embed_dim, mean, std, input_size = 4, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 8
    fingerprint = 'block'

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, 2)
        self.norm = nn.BatchNorm2d(4)

    def init_weights(self) -> None:
        raise AssertionError('a teacher was initialised again')

    def pyramid(self, images_B3HW: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.norm(self.conv(images_B3HW)),)

    def embed_dense(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        return self.pyramid(images_B3HW)[0]

    def embed_images(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        return self.embed_dense(images_B3HW).mean((2, 3))


@pytest.fixture
def model() -> nn.Module:
    module = nn.Module()
    module.teacher = FrozenTower(BlockTower())
    module.student = nn.Linear(2, 2)
    return module


def test_owns_nothing(model: nn.Module) -> None:
    assert not model.teacher.state_dict()
    assert not list(model.teacher.parameters())
    assert not list(model.teacher.buffers())
    assert list(model.state_dict()) == ['student.weight', 'student.bias']
    model.load_state_dict(model.state_dict(), strict=True)


def test_follows_dtype_and_device(model: nn.Module) -> None:
    tower = model.teacher.tower
    model.double()
    assert tower.conv.weight.dtype == tower.norm.running_mean.dtype == torch.float64
    assert model.teacher.embed_images(torch.ones(1, 3, 8, 8, dtype=torch.float64)).dtype == torch.float64
    model.to(torch.float32)
    assert tower.conv.weight.dtype == torch.float32
    model.to('meta')
    assert tower.conv.weight.device.type == 'meta'


def test_stays_in_eval_mode_and_gives_no_gradient(model: nn.Module) -> None:
    model.train()
    tower = model.teacher.tower
    assert not tower.training
    assert not tower.norm.training
    before = tower.norm.running_mean.clone()
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    outputs = [model.teacher.embed_images(images), model.teacher.embed_dense(images), *model.teacher.pyramid(images)]
    assert not any(output.requires_grad for output in outputs)
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    assert torch.equal(tower.norm.running_mean, before)
    torch.testing.assert_close(outputs[0], tower.embed_images(images))


def test_describes_the_tower(model: nn.Module) -> None:
    teacher = model.teacher
    assert (teacher.embed_dim, teacher.mean, teacher.std) == (4, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert (teacher.input_size, teacher.fingerprint) == (8, 'block')


def test_a_model_that_initialises_its_children_leaves_it_alone() -> None:
    from mmengine.model import BaseModule

    class Student(BaseModule):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = FrozenTower(BlockTower())

    Student().init_weights()


def test_deep_copies_are_independent(model: nn.Module) -> None:
    other = copy.deepcopy(model)
    other.double()
    assert model.teacher.tower.conv.weight.dtype == torch.float32


def test_builds_from_config() -> None:
    teacher = MODELS.build({'type': 'vlm_dense.FrozenTower', 'tower': {'type': 'vlm_dense.ImageNetTower'}})
    assert teacher.embed_images(torch.zeros(1, 3, 64, 64)).shape == (1, 1280)
