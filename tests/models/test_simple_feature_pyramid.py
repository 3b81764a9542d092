"""The pyramid of one map: against torch's layers put together by hand, and in a detector over a vision transformer."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from detection_parts import build, losses_of, model_config, predictions, vocabulary
from torch import Tensor, nn

from vlm_dense.errors import ConfigError
from vlm_dense.models.necks import SimpleFeaturePyramid

CLIP = 'vlm-dense-neck-vit'


def channel_norm(x_BChw: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, variance = x_BChw.mean(dim=1, keepdim=True), x_BChw.var(dim=1, keepdim=True, unbiased=False)
    return (x_BChw - mean) / (variance + 1e-6).sqrt() * weight[:, None, None] + bias[:, None, None]


def by_hand(neck: SimpleFeaturePyramid, map_BChw: Tensor) -> list[Tensor]:
    state = neck.state_dict()

    def enlarged(x: Tensor, name: str) -> Tensor:
        return F.conv_transpose2d(x, state[f'{name}.weight'], state[f'{name}.bias'], stride=2)

    norm = state['rescale.0.1.weight'], state['rescale.0.1.bias']
    twice = F.gelu(channel_norm(enlarged(map_BChw, 'rescale.0.0'), *norm))
    rescaled = [enlarged(twice, 'rescale.0.3'), enlarged(map_BChw, 'rescale.1'), map_BChw]
    rescaled.append(F.max_pool2d(map_BChw, 2))
    levels = []
    for number, x in enumerate(rescaled):
        for part, padding in ((0, 0), (1, 1)):
            name = f'smooth.{number}.{part}'
            x = F.conv2d(x, state[f'{name}.conv.weight'], padding=padding)
            x = channel_norm(x, state[f'{name}.ln.weight'], state[f'{name}.ln.bias'])
        levels.append(x)
    return [*levels, levels[-1][:, :, ::2, ::2]]


def test_equals_torchs_layers_by_hand() -> None:
    torch.manual_seed(0)
    neck = SimpleFeaturePyramid(16, 8)
    with torch.no_grad():
        for parameter in neck.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        map_BChw = torch.randn(2, 16, 6, 10)
        for level, expected in zip(neck([torch.zeros(1), map_BChw]), by_hand(neck, map_BChw), strict=True):
            torch.testing.assert_close(level, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('norm', [None, {'type': 'BN'}, {'type': 'GN', 'num_groups': 2}])
@pytest.mark.parametrize(('height', 'width'), [(7, 5), (1, 4), (8, 8)])
def test_sizes(norm: dict | None, height: int, width: int) -> None:
    neck = SimpleFeaturePyramid(16, 8, num_outs=6, norm_cfg=norm).eval()
    levels = neck([torch.randn(1, 16, height, width)])
    sizes = [(4 * height, 4 * width), (2 * height, 2 * width), (height, width)]
    for _ in range(3):
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    assert [tuple(level.shape) for level in levels] == [(1, 8, *size) for size in sizes]


def test_too_few() -> None:
    for settings in ({'in_channels': 16, 'num_outs': 3}, {'in_channels': 3}):
        with pytest.raises(ConfigError, match='at least 4 of each'):
            SimpleFeaturePyramid(**settings)


@pytest.fixture(scope='module')
def detector(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """CLIP's ViT with patches of 16, of little width, frozen."""
    folder: Path = tmp_path_factory.mktemp('open_clip')
    vision = {'image_size': 64, 'layers': 4, 'width': 32, 'patch_size': 16, 'head_width': 16}
    text = {'context_length': 8, 'vocab_size': 49408, 'width': 32, 'heads': 2, 'layers': 1}
    (folder / f'{CLIP}.json').write_text(json.dumps({'embed_dim': 32, 'vision_cfg': vision, 'text_cfg': text}))
    open_clip.add_model_config(folder)
    tower = {'type': 'vlm_dense.OpenClipTower', 'name': CLIP}
    config = model_config()
    config['backbone'] = {'type': 'vlm_dense.TowerBackbone', 'tower': tower, 'out_indices': (3,)}
    config['neck'] = {'type': 'vlm_dense.SimpleFeaturePyramid', 'in_channels': 32, 'out_channels': 16, 'num_outs': 4}
    torch.manual_seed(0)
    built = build(config)
    built.init_weights()
    return built


def test_a_detector_over_clip_takes_steps(detector: nn.Module) -> None:
    trained = [p for p in detector.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01)
    before = {name: value.clone() for name, value in detector.backbone.state_dict().items()}
    totals = []
    for _ in range(4):
        torch.manual_seed(0)
        total, _ = detector.parse_losses(losses_of(detector.train(), vocabulary()))
        optimizer.zero_grad()
        total.backward()
        assert [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None] == []
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]
    assert all(torch.equal(before[name], value) for name, value in detector.backbone.state_dict().items())
    found = predictions(detector, vocabulary('dog elk', 'dog'))[0].pred_instances
    assert len(found) > 0
    assert found.scores.isfinite().all()
