"""The DPT decoder against transformers' own, with the same random weights."""

import pytest
import torch
from segmentation_parts import EMBED_DIM, tiny_head
from torch import nn

from vlm_dense.errors import ConfigError
from vlm_dense.models.decode_heads import DPTPixelHead, RefineFusion
from vlm_dense.registry import MODELS

WIDTHS = (8, 12, 16, 20)


def copy_convolution(source: nn.Module, target: nn.Module) -> None:
    target.load_state_dict(source.state_dict())


def copy_weights(neck: nn.Module, head: DPTPixelHead) -> None:
    """Every tensor of transformers' neck into ours."""
    for layer in range(4):
        copy_convolution(neck.reassemble_stage.layers[layer].projection, head.reassemble.projects[layer].conv)
        copy_convolution(neck.reassemble_stage.layers[layer].resize, head.reassemble.resize_layers[layer])
        copy_convolution(neck.reassemble_stage.readout_projects[layer][0], head.reassemble.readout_projects[layer][0])
        copy_convolution(neck.convs[layer], head.fusion.convs[layer].conv)
        theirs, ours = neck.fusion_stage.layers[layer], head.fusion.blocks[layer]
        copy_convolution(theirs.projection, ours.project.conv)
        for residual, unit in (
            (theirs.residual_layer1, ours.res_conv_unit1),
            (theirs.residual_layer2, ours.res_conv_unit2),
        ):
            if unit is None:
                continue
            copy_convolution(residual.convolution1, unit.conv1.conv)
            copy_convolution(residual.convolution2, unit.conv2.conv)
            copy_convolution(residual.batch_norm1, unit.conv1.norm)
            copy_convolution(residual.batch_norm2, unit.conv2.norm)


def randomise_norms(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1, 0.2)
            nn.init.normal_(part.bias, 0, 0.2)
            nn.init.normal_(part.running_mean, 0, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)


@pytest.fixture
def neck() -> nn.Module:
    from transformers import DPTConfig
    from transformers.models.dpt.modeling_dpt import DPTNeck

    neck = DPTNeck(
        DPTConfig(
            hidden_size=16,
            neck_hidden_sizes=list(WIDTHS),
            fusion_hidden_size=10,
            readout_type='project',
            reassemble_factors=[4, 2, 1, 0.5],
            use_batch_norm_in_fusion_residual=True,
            use_bias_in_fusion_residual=False,
            is_hybrid=False,
        )
    )
    randomise_norms(neck)
    return neck.eval()


@pytest.mark.parametrize('grid', [(4, 4), (6, 3)])
def test_reassemble_and_fusion_equal_transformers(neck: nn.Module, grid: tuple[int, int]) -> None:
    head = MODELS.build(tiny_head(in_channels=16, reassemble_channels=WIDTHS, channels=10)).eval()
    copy_weights(neck, head)
    height, width = grid
    tokens = [torch.randn(2, 1 + height * width, 16) for _ in range(4)]
    taps = [(t[:, 1:].transpose(1, 2).reshape(2, 16, height, width), t[:, 0]) for t in tokens]
    with torch.no_grad():
        expected = neck(tokens, height, width)[-1]
        found = head.fusion(head.reassemble(taps))
        embedded = head.embed(taps).dense_BDhw
    even = [8 * (length + length % 2) for length in grid]
    assert found.shape == (2, 10, *even)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(embedded, head.project(expected), atol=1e-4, rtol=1e-4)
    assert embedded.shape[1] == EMBED_DIM


def test_fusion_refuses_a_wrong_number_of_maps() -> None:
    fusion = RefineFusion((4, 4), 4)
    with pytest.raises(ConfigError, match='built for 2 maps and the backbone gives 3'):
        fusion([torch.zeros(1, 4, 4, 4)] * 3)


def test_fusion_enlarges_a_map_that_stays_coarse() -> None:
    fusion = RefineFusion((4, 6, 6), 5).eval()
    maps = [torch.randn(1, 4, 16, 16), torch.randn(1, 6, 8, 8), torch.randn(1, 6, 4, 4)]
    assert fusion(maps).shape == (1, 5, 32, 32)
