"""CLIP's ResNets with finer last maps, against blocks written with torch's functions."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlm_dense.errors import ConfigError


def normalised(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def bottleneck(block: nn.Module, x: Tensor, reach: int) -> Tensor:
    """A block of CLIP's ResNet that keeps its resolution."""
    out = normalised(F.conv2d(x, block.conv1.weight), block.bn1).relu()
    out = normalised(F.conv2d(out, block.conv2.weight, padding=reach, dilation=reach), block.bn2).relu()
    out = normalised(F.conv2d(out, block.conv3.weight), block.bn3)
    if block.downsample is not None:
        x = normalised(F.conv2d(x, block.downsample[1].weight), block.downsample[2])
    return (out + x).relu()


# Reaches of the 3x3 convolutions of the two last stages, first block and others; None where the stage halves the map.
@pytest.mark.parametrize(('stride', 'reaches'), [(16, (None, (1, 2))), (8, ((1, 2), (2, 4)))])
def test_last_stages(tower_of, stride: int, reaches: tuple) -> None:
    tower = tower_of('deepresnet', output_stride=stride)
    usual = tower_of('deepresnet')
    images = torch.randn(1, 3, 96, 130)
    with torch.no_grad():
        maps, expected = tower.pyramid(images), list(usual.pyramid(images))
        for number, reach in zip((2, 3), reaches, strict=True):
            if reach is None:
                continue
            x = expected[number - 1]
            for row, block in enumerate(getattr(tower.visual, f'layer{number + 1}')):
                x = bottleneck(block, x, reach[min(row, 1)])
            expected[number] = x
        for found, right in zip(maps, expected, strict=True):
            torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)
        assert tower.embed_dense(images).shape[2:] == expected[3].shape[2:]
    assert expected[3].shape[2:] == (96 // stride, 130 // stride)
    assert tower.state_dict().keys() == usual.state_dict().keys()
    assert tower.fingerprint == f'{usual.fingerprint}:output_stride-{stride}'


def test_what_a_stride_rules_out(tower_of) -> None:
    with pytest.raises(ConfigError, match='output_stride=8 embeds no whole pictures'):
        tower_of('resnet', output_stride=8).embed_images(torch.randn(1, 3, 64, 64))
    with pytest.raises(ConfigError, match='takes 32 or 16 or 8'):
        tower_of('resnet', output_stride=4)
    with pytest.raises(ConfigError, match='takes 32'):
        tower_of('vit', output_stride=8)
